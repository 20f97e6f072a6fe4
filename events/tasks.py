"""Celery tasks: each makes one service call."""

from __future__ import annotations

from celery import shared_task

from events.services import runner


@shared_task
def give_places() -> dict[str, int]:
    """Beat, every 10 s: what `manage.py run_events` does, where that is not running."""
    return {"events": runner.tick()}

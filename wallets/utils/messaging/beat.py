"""Beat's scheduler: it publishes ticks through the publisher, with time-outs.

Celery's own scheduler waits for ever when a broker falls silent, or goes on writing
into a half-open connection; then there are no ticks until a restart.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from wallets.utils import clock
from wallets.utils.messaging import beat_alive, broker

_BEGINNING = datetime(2000, 1, 1, tzinfo=timezone.utc)


def _elapsed_now() -> datetime:
    """Return elapsed time as an instant, for Celery; only differences count."""
    return _BEGINNING + timedelta(seconds=clock.elapsed())


def every(seconds: float) -> schedule:
    """Return a schedule by elapsed time.

    By the wall clock a step back of an hour would stop all ticks for an hour.
    """
    return schedule(timedelta(seconds=seconds), nowfun=_elapsed_now)


class PublishingScheduler(Scheduler):
    """Gives ticks to this process's publisher. Keeps no file.

    A tick that does not reach the broker is not sent again: the next one does its work.
    """

    producer = None  # no connection of its own

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Publish what is due; return the wait in seconds. Marks the loop as alive."""
        beat_alive.mark()
        wait: float = super().tick(*args, **kwargs)
        return wait

    def apply_async(
        self,
        entry: ScheduleEntry,
        producer: Any = None,
        advance: bool = True,
        **kwargs: Any,
    ) -> None:
        """Publish one tick of the schedule."""
        entry = self.reserve(entry) if advance else entry
        broker.publish(
            entry.task, args=entry.args, kwargs=entry.kwargs, **entry.options
        )

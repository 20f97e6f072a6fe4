"""Beat's scheduler: ticks go to the broker as everything does, with a bound on each step.

Celery's own publishes on a connection that waits for ever when a broker falls silent, or
goes on writing into one that is half open; until somebody restarts it, nothing ticks.
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
    """Elapsed time as Celery wants it: an instant. Only differences mean anything."""
    return _BEGINNING + timedelta(seconds=clock.elapsed())


def every(seconds: float) -> schedule:
    """A schedule that ticks whenever so much time has passed, whatever the date says.

    By the machine's date a clock that is set back an hour would stop all ticks for one.
    """
    return schedule(timedelta(seconds=seconds), nowfun=_elapsed_now)


class PublishingScheduler(Scheduler):
    """Leaves its ticks with this process's publisher. Keeps no file to be corrupted.

    A tick that does not reach the broker is not sent again: the next one does its work.
    """

    producer = None  # no connection of its own

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Publish what is due; return how long to wait. Mark that the loop goes round."""
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

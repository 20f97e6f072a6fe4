"""Beat's scheduler: ticks go to the broker as everything does, with a bound on each step.

Celery's own publishes on a connection that waits for ever when a broker falls silent, or
goes on writing into one that is half open; until somebody restarts it, nothing ticks.
"""

from __future__ import annotations

from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from wallets.utils import broker


class BellScheduler(Scheduler):
    """Leaves its ticks with this process's ringer. Keeps no file that could be corrupted.

    A tick that does not reach the broker is not sent again: the next one does its work.
    """

    producer = None  # no connection of its own

    def apply_async(
        self,
        entry: ScheduleEntry,
        producer: Any = None,
        advance: bool = True,
        **kwargs: Any,
    ) -> None:
        """Ring for one task of the schedule."""
        entry = self.reserve(entry) if advance else entry
        broker.ring(entry.task, args=entry.args, kwargs=entry.kwargs, **entry.options)

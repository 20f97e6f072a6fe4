"""What the clocks show at one moment. Each is for one thing, and none is trusted alone.

The database's clock decides what is due: it is the same for all machines, and may be set,
or be another one after a failover. Elapsed time decides what must really have passed. A
host's wall clock decides nothing; it is a witness more that much time may have passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from wallets.models.attempt import Attempt
from wallets.services.payouts import waits
from wallets.utils import clock
from wallets.utils.database.transactions import database_now


@dataclass(frozen=True)
class Moment:
    """The clocks of the database and of this host (UTC), and elapsed time with its clock."""

    now: datetime
    host: datetime
    elapsed: float
    clock: str

    def waited_since(self, attempt: Attempt, event: str) -> float:
        """Seconds that have passed since the event, at least."""
        return waits.waited_since(
            attempt.waits, event, clock=self.clock, elapsed=self.elapsed
        )

    def observed(self, attempt: Attempt) -> waits.Waits:
        """What is known of the attempt's waits, with what this clock knows now."""
        return waits.observed(attempt.waits, clock=self.clock, elapsed=self.elapsed)

    def begun(self) -> waits.Waits:
        """What is known of an attempt that is about to be sent."""
        return waits.begun(
            clock=self.clock, elapsed=self.elapsed, shown=self.host.timestamp()
        )

    def begun_again(self, attempt: Attempt) -> waits.Waits:
        """The same, when it is about to be sent once more."""
        return waits.begun_again(
            attempt.waits,
            clock=self.clock,
            elapsed=self.elapsed,
            shown=self.host.timestamp(),
        )

    def age(self, attempt: Attempt, event: str, since: datetime) -> float:
        """Seconds that may have passed since the event: the most that any clock says.

        For memories that end: a clock that was set back must not bring one back. `since`
        is what the database's clock showed at the event. Where that was ahead, and was set
        right later, the sender's wall clock is the witness. Infinite where every wall
        clock shows a time before the event, and another elapsed clock than this one has
        counted: then nobody knows.
        """
        by_clocks = [(shown - since).total_seconds() for shown in (self.now, self.host)]
        shown_at = waits.shown_at(attempt.waits, event)
        if shown_at is not None:
            by_clocks.append(self.host.timestamp() - shown_at)
        if max(by_clocks) < 0 and not waits.is_counted_by(
            attempt.waits, event, self.clock
        ):
            return math.inf
        return max(self.waited_since(attempt, event), *by_clocks)


def left(needed: float, passed: float) -> float:
    """Seconds that are left of those needed; 0 when none is.

    Never a part of a millisecond: a plan for then would be no plan at all.
    """
    missing = needed - passed
    return max(missing, 0.001) if missing > 0 else 0.0


def read(now: datetime | None = None, elapsed: float | None = None) -> Moment:
    """Read the clocks. What is given stands for them: `now` for both wall clocks."""
    database = now or database_now()
    return Moment(
        now=database,
        host=now or timezone.now(),
        elapsed=clock.elapsed() if elapsed is None else elapsed,
        clock=clock.machine(),
    )

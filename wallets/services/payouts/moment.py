"""The values of all clocks at one moment. Each has one purpose; none is trusted alone.

The database's clock decides what is due: it is the same for all machines, but may be
set, and after a failover it is another one. Elapsed time decides what must have passed.
A host's wall clock decides nothing; it can only show that much time may have passed.
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
    """The clocks of database and host (UTC), and elapsed time with its clock's name."""

    now: datetime
    host: datetime
    elapsed: float
    clock: str

    def waited_since(self, attempt: Attempt, event: str) -> float:
        """Return a lower bound of the seconds since the event."""
        return waits.waited_since(
            attempt.waits, event, clock=self.clock, elapsed=self.elapsed
        )

    def observed(self, attempt: Attempt) -> waits.Waits:
        """Return the attempt's anchors, with new ones of this clock."""
        return waits.observed(attempt.waits, clock=self.clock, elapsed=self.elapsed)

    def begun(self) -> waits.Waits:
        """Return the anchors of an attempt that is about to be sent."""
        return waits.begun(
            clock=self.clock, elapsed=self.elapsed, shown=self.host.timestamp()
        )

    def begun_again(self, attempt: Attempt) -> waits.Waits:
        """Return the anchors of an attempt that is about to be sent again."""
        return waits.begun_again(
            attempt.waits,
            clock=self.clock,
            elapsed=self.elapsed,
            shown=self.host.timestamp(),
        )

    def age(self, attempt: Attempt, event: str, since: datetime) -> float:
        """Return the seconds that may have passed since the event.

        The maximum of all clocks, for the bank's memory: it must not seem to last
        longer when a clock is set back. `since` is the database's time of the event. If
        that clock was ahead then and was corrected later, the sender's wall clock
        counts. Infinite if every wall clock shows a time before the event, and another
        elapsed clock has counted: then the age is unknown.
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
    """Return the seconds that are left of those needed; 0 when none is.

    At least a millisecond, because a check in less than that is due at once.
    """
    missing = needed - passed
    return max(missing, 0.001) if missing > 0 else 0.0


def read(now: datetime | None = None, elapsed: float | None = None) -> Moment:
    """Read the clocks. `now` replaces both wall clocks, `elapsed` the elapsed time."""
    database = now or database_now()
    return Moment(
        now=database,
        host=now or timezone.now(),
        elapsed=clock.elapsed() if elapsed is None else elapsed,
        clock=clock.machine(),
    )

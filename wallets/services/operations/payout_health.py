"""Whether payouts run: not paused, on time, and with a bank that answers. Reads only.

The overview, `/readyz` and `/metrics` all use it. It reads a bounded number of rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from wallets.models.states import Event
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.operations import pause
from wallets.services.operations.pause import Standing

# A withdrawal that has not begun this long after its time is late.
LATE_SECONDS = 60
# The period of the bank's latest answers, and the most rows to read.
LATELY = timedelta(minutes=5)
SAMPLE = 2000
# Lost answers are reported from this number and this share on.
LEAST_LOST, LOST_SHARE = 3, 0.05

_ANSWERED = {Event.ACCEPTED.value, Event.REJECTED.value}
_LOST = {Event.UNKNOWN.value, Event.NOT_SENT.value}


@dataclass(frozen=True)
class PayoutHealth:
    """The state of payouts. `answers` and `lost` count calls of the last minutes."""

    standing: Standing
    oldest_due_seconds: float
    answers: int  # calls whose answer proved an outcome
    lost: int  # calls without such an answer

    @property
    def late(self) -> bool:
        """Whether the oldest due withdrawal is late."""
        return self.oldest_due_seconds > LATE_SECONDS

    @property
    def lost_share(self) -> float:
        """The share of calls without an answer, 0 to 1."""
        calls = self.answers + self.lost
        return self.lost / calls if calls else 0.0

    @property
    def bank_ill(self) -> bool:
        """Whether the number and the share of lost answers are too large."""
        return self.lost >= LEAST_LOST and self.lost_share >= LOST_SHARE

    @property
    def payouts(self) -> str:
        """Problems of payouts in words, without names; empty if there is none."""
        said = []
        if self.standing.by_setting:
            said.append("paused by WITHDRAWALS_PAUSED")
        if self.standing.pause is not None:
            said.append("paused by an operator")
        if self.late:
            said.append(f"late: the oldest is due for {self.oldest_due_seconds:.0f} s")
        return ", ".join(said)

    @property
    def bank(self) -> str:
        """Problems of the bank in words; empty if there is none."""
        if not self.bank_ill:
            return ""
        calls = self.answers + self.lost
        return f"no answer to {self.lost} of the last {calls} calls"


def look(now: datetime) -> PayoutHealth:
    """Read the pause, the oldest due withdrawal and the latest answers."""
    due = Transaction.get_due_pending_withdrawals(now)
    oldest = due.values_list("scheduled_for", flat=True).first()
    late = (now - oldest).total_seconds() if oldest else 0.0
    # Rows of the future are of a clock that was ahead: they are not the latest.
    latest = Transition.objects.filter(created_at__range=(now - LATELY, now))
    latest = latest.exclude(evidence=pause.WITHDRAWN)  # no call was made
    # The latest rows of any event: their number bounds the cost.
    rows = latest.order_by("-created_at").values_list("event", flat=True)[:SAMPLE]
    events = Counter(rows)
    return PayoutHealth(
        pause.standing(),
        oldest_due_seconds=max(0.0, late),
        answers=sum(events[name] for name in _ANSWERED),
        lost=sum(events[name] for name in _LOST),
    )

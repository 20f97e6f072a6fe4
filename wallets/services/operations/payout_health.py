"""Whether payouts run: not paused, on time, and with a bank that answers. Reads only.

The overview, `/readyz` and `/metrics` say the same, because all three ask here. Each look
costs a bounded number of rows.
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

# Seconds after its planned time from which a withdrawal that has not begun is late.
LATE_SECONDS = 60
# How far back the bank's answers are looked at, and how many rows at most.
LATELY = timedelta(minutes=5)
SAMPLE = 2000
# Lost answers are worth saying from so many on, and from this share on.
LEAST_LOST, LOST_SHARE = 3, 0.05

_ANSWERED = {Event.ACCEPTED.value, Event.REJECTED.value}
_LOST = {Event.UNKNOWN.value, Event.NOT_SENT.value}


@dataclass(frozen=True)
class PayoutHealth:
    """How payouts stand. `answers` and `lost` are of the last minutes."""

    standing: Standing
    oldest_due_seconds: float
    answers: int  # that said whether the bank paid
    lost: int  # calls without such an answer

    @property
    def late(self) -> bool:
        """Whether something should have been sent to the bank long ago."""
        return self.oldest_due_seconds > LATE_SECONDS

    @property
    def lost_share(self) -> float:
        """Which part of the calls brought no answer, 0 to 1."""
        calls = self.answers + self.lost
        return self.lost / calls if calls else 0.0

    @property
    def bank_ill(self) -> bool:
        """Whether the bank loses more answers than now and then one."""
        return self.lost >= LEAST_LOST and self.lost_share >= LOST_SHARE

    @property
    def payouts(self) -> str:
        """What is wrong with payouts, for everybody to read; empty if nothing is."""
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
        """What is wrong with the bank, for everybody to read; empty if nothing is."""
        if not self.bank_ill:
            return ""
        calls = self.answers + self.lost
        return f"no answer to {self.lost} of the last {calls} calls"


def look(now: datetime) -> PayoutHealth:
    """Look at the pause, at what is due, and at the latest answers."""
    due = Transaction.get_due_pending_withdrawals(now)
    oldest = due.values_list("scheduled_for", flat=True).first()
    late = (now - oldest).total_seconds() if oldest else 0.0
    latest = Transition.objects.filter(created_at__gte=now - LATELY)
    # The latest rows of any kind: their number is what bounds the cost.
    rows = latest.order_by("-created_at").values_list("event", flat=True)[:SAMPLE]
    events = Counter(rows)
    return PayoutHealth(
        pause.standing(),
        oldest_due_seconds=max(0.0, late),
        answers=sum(events[name] for name in _ANSWERED),
        lost=sum(events[name] for name in _LOST),
    )

"""Whether payouts run: not paused, on time, and with a bank that answers. Reads only.

The overview, `/readyz` and `/metrics` all use it. It reads a bounded number of rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from wallets.models.states import Event
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.operations import alarm, pause
from wallets.services.operations.pause import Standing
from wallets.utils.database import readable

# The period of the bank's latest answers, and the most rows to read.
LATELY = timedelta(minutes=5)
SAMPLE = 2000
# Lost answers are reported from this number and this share on; or if all are lost,
# from ALL_LOST on.
LEAST_LOST, LOST_SHARE = 3, 0.05
ALL_LOST = 2

_ANSWERED = {Event.ACCEPTED.value, Event.REJECTED.value}
_LOST = {Event.UNKNOWN.value, Event.NOT_SENT.value}


@dataclass(frozen=True)
class PayoutHealth:
    """The state of payouts. `answers` and `lost` count calls of the last minutes."""

    standing: Standing
    oldest_due_seconds: float
    oldest_retry_due_seconds: float
    answers: int  # calls whose answer proved an outcome
    lost: int  # calls without such an answer

    @property
    def late(self) -> bool:
        """Whether the oldest due withdrawal is late."""
        return self.oldest_due_seconds > self.late_after

    @property
    def retries_late(self) -> bool:
        """Whether the oldest due retry is late."""
        return self.oldest_retry_due_seconds > self.retry_late_after

    @property
    def late_after(self) -> float:
        """How long after its time a withdrawal is late: two ticks have missed it."""
        return _two_ticks(settings.WITHDRAWAL_DUE_INTERVAL)

    @property
    def retry_late_after(self) -> float:
        """How long after its time a retry is late."""
        return _two_ticks(settings.WITHDRAWAL_RETRY_INTERVAL)

    @property
    def calls(self) -> int:
        """The calls of the last minutes."""
        return self.answers + self.lost

    @property
    def lost_share(self) -> float:
        """The share of calls without an answer, 0 to 1."""
        return self.lost / self.calls if self.calls else 0.0

    @property
    def bank_ill(self) -> bool:
        """Whether the number and the share of lost answers are too large."""
        least = LEAST_LOST if self.answers else ALL_LOST
        return self.lost >= least and self.lost_share >= LOST_SHARE

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
        if self.retries_late:
            age = self.oldest_retry_due_seconds
            said.append(f"retries late: the oldest is due for {age:.0f} s")
        return ", ".join(said)

    @property
    def bank(self) -> str:
        """Problems of the bank in words; empty if there is none."""
        if not self.bank_ill:
            return ""
        return f"no answer to {self.lost} of the last {self.calls} calls"


def look(now: datetime) -> PayoutHealth:
    """Read the pause, the oldest due withdrawal and retry, and the latest answers.

    What an alarm says to be paid is not late: it waits for an operator.
    """
    due = Transaction.get_due_pending_withdrawals(now)
    retries = Transaction.get_failed_retryable_withdrawals(now=now)
    # Without an OR, so that engines read one row of the index.
    retries = retries.filter(next_attempt_at__lte=now)
    # Rows of the future are of a clock that was ahead: they are not the latest.
    latest = Transition.objects.filter(created_at__range=(now - LATELY, now))
    latest = latest.exclude(evidence=pause.WITHDRAWN)  # no call was made
    # The latest rows of any event: their number bounds the cost.
    rows = latest.order_by("-created_at").values_list("event", flat=True)[:SAMPLE]
    events = Counter(rows)
    return PayoutHealth(
        pause.standing(),
        oldest_due_seconds=_oldest(due, "scheduled_for", now),
        oldest_retry_due_seconds=_oldest(retries, "next_attempt_at", now),
        answers=sum(events[name] for name in _ANSWERED),
        lost=sum(events[name] for name in _LOST),
    )


def _oldest(rows: QuerySet[Transaction], column: str, now: datetime) -> float:
    """Return how long the first of the ordered rows has been due, in seconds."""
    moment = readable.first(alarm.without_said_paid(rows), column)
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def _two_ticks(interval: float) -> float:
    return 2 * interval + settings.WITHDRAWAL_POLL

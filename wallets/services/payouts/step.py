"""The next step for an attempt of unknown outcome, by the bank's abilities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.operations import pause
from wallets.services.payouts import waits
from wallets.services.payouts.moment import Moment, left
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Payment

# How many times WITHDRAWAL_REVIEW_AFTER the database's clock alone must show: more than
# a mistake of a time zone.
OVERDUE = 24


class Step(Enum):
    """The next step for an attempt of unknown outcome."""

    LEAVE = "leave"
    WAIT = "wait"
    LOOK_UP = "look_up"
    RESEND = "resend"
    REVIEW = "review"


@dataclass(frozen=True)
class Check:
    """An attempt that this process has taken to resolve, with the moment of taking."""

    step: Step
    attempt: Attempt
    payment: Payment
    taken: Moment


def next_step(
    abilities: Abilities, attempt: Attempt, withdrawal: Transaction, moment: Moment
) -> Step:
    """Return the next step: look-up, else the same reference again, else review."""
    if abilities.looks_up:
        return Step.LOOK_UP
    if until_lease_ends(attempt, withdrawal, moment):
        if _is_overdue(attempt.last_sent_at, moment):
            return Step.REVIEW
        return Step.LEAVE  # the database's clock was set; the sender may be at work
    # The bank must still remember the reference when the request arrives.
    margin = settings.WITHDRAWAL_LEASE
    # The time since the reference was first sent.
    age = moment.age(attempt, waits.first_send(attempt.waits), attempt.started_at)
    if not abilities.dedupes or age + margin >= abilities.dedupe_window:
        return Step.REVIEW
    if pause.is_paused():
        return Step.WAIT
    if withdrawal.state is State.NEEDS_REVIEW:
        return Step.REVIEW  # nothing is sent while an operator decides
    if attempt.sends > 1 and age >= settings.WITHDRAWAL_REVIEW_AFTER:
        # The reference was sent several times, and the bank never answered. Each send
        # begins a new unknown period, so the attempt's age decides. After a long
        # downtime it is sent once more, however old it is.
        return Step.REVIEW
    return Step.RESEND


def until_lease_ends(
    attempt: Attempt, withdrawal: Transaction, moment: Moment
) -> float:
    """Seconds until the sender's lease ends, by elapsed time; 0 without a sender."""
    if withdrawal.state is not State.SENDING:
        return 0.0
    passed = moment.waited_since(attempt, waits.SENT)
    return left(settings.WITHDRAWAL_LEASE, passed)


def too_long_unknown(attempt: Attempt, withdrawal: Transaction, moment: Moment) -> bool:
    """Whether the attempt must go to review, by database clock and elapsed time."""
    if withdrawal.unknown_since is None:
        return False
    patience: float = settings.WITHDRAWAL_REVIEW_AFTER
    by_database = (moment.now - withdrawal.unknown_since).total_seconds()
    # Less than 0: the clock was set back, and is ignored.
    agrees = by_database >= patience or by_database < 0
    if _is_overdue(withdrawal.unknown_since, moment):
        return True
    return agrees and moment.waited_since(attempt, waits.SENT) >= patience


def _is_overdue(since: datetime, moment: Moment) -> bool:
    """Whether an attempt goes to review although elapsed time has not ended its wait.

    Only by a clock that ends with its process: short processes (`run_sweeps --once`)
    never count to the end of a wait, and nobody would be told. The database's clock
    decides alone, so the time is long, and money stays held.
    """
    patience = OVERDUE * settings.WITHDRAWAL_REVIEW_AFTER
    passed = (moment.now - since).total_seconds()
    return clock.ends_with_process(moment.clock) and passed >= patience

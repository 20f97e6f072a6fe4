"""What to do about an attempt of unknown outcome: by the means that the bank has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.operations import pause
from wallets.services.payouts import waits
from wallets.services.payouts.moment import Moment, left
from wallets.utils.bank.interface import Abilities, Payment


class Step(Enum):
    """What to do about an attempt of unknown outcome."""

    LEAVE = "leave"
    WAIT = "wait"
    LOOK_UP = "look_up"
    RESEND = "resend"
    REVIEW = "review"


@dataclass(frozen=True)
class Check:
    """One attempt that this process looks into, from that moment on."""

    step: Step
    attempt: Attempt
    payment: Payment
    taken: Moment


def next_step(
    abilities: Abilities, attempt: Attempt, withdrawal: Transaction, moment: Moment
) -> Step:
    """Choose the means that the bank has: look-up, else the same reference, else people."""
    if abilities.looks_up:
        return Step.LOOK_UP
    if until_lease_ends(attempt, withdrawal, moment):
        return Step.LEAVE  # the database's clock was set: its sender is at work
    # A bank that forgets while our request is on its way would pay again.
    margin = settings.WITHDRAWAL_LEASE
    # From when the bank first heard of the reference.
    age = moment.age(attempt, waits.first_send(attempt.waits), attempt.started_at)
    if not abilities.dedupes or age + margin >= abilities.dedupe_window:
        return Step.REVIEW
    if pause.is_paused():
        return Step.WAIT
    if withdrawal.state is State.NEEDS_REVIEW:
        return Step.REVIEW  # nothing is sent behind an operator's back
    if attempt.sends > 1 and age >= settings.WITHDRAWAL_REVIEW_AFTER:
        # The same reference was sent again, and again, to a bank that says nothing. Each
        # time the outcome is in a sender's hands anew, so the attempt's age counts. After
        # a standstill of ours it is sent again once, however old it is.
        return Step.REVIEW
    return Step.RESEND


def until_lease_ends(
    attempt: Attempt, withdrawal: Transaction, moment: Moment
) -> float:
    """Seconds for which a sender may be at work, by elapsed time; 0 when none is."""
    if withdrawal.state is not State.SENDING:
        return 0.0
    passed = moment.waited_since(attempt, waits.SENT)
    return left(settings.WITHDRAWAL_LEASE, passed)


def too_long_unknown(attempt: Attempt, withdrawal: Transaction, moment: Moment) -> bool:
    """Whether it is time to call an operator, by both clocks: nobody is called for a step."""
    if withdrawal.unknown_since is None:
        return False
    patience: float = settings.WITHDRAWAL_REVIEW_AFTER
    by_database = (moment.now - withdrawal.unknown_since).total_seconds()
    # Before it began: that clock was set back, and says nothing.
    agrees = by_database >= patience or by_database < 0
    return agrees and moment.waited_since(attempt, waits.SENT) >= patience

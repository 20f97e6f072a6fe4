"""When "not found" proves that an attempt was not paid. Pure functions.

Note [Quiet period]: a look-up right after a payment can say "not found", and the bank
books the payment a moment later. If the money were released then, it would be paid and
refunded. So "not found" is proof only under all of these conditions:

- The quiet period since the last send is over: the sender's lease (after which it sends
  nothing), the longest call, and the bank's booking time.
- The bank said "not found" twice, with no other answer in between. The distance was at
  least the longest call and the booking time.
- The bank still remembers the last request: its look-up window is not over.

The first two conditions use elapsed time, because a database's clock may be set, and
another server's clock may be ahead: see Note [Lower bound] in `services.payouts.waits`. The
quiet period must be over by the database's clock, too, unless that clock shows a time
before the send; then it was set back and is ignored. The window is over as soon as any
clock says so.

A look-up counts as asked when its attempt was taken, and as answered when the answer is
recorded, because the process may be frozen in between.
"""

from __future__ import annotations

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.services.payouts import waits
from wallets.services.payouts.moment import Moment, left
from wallets.utils.bank.interface import Abilities


def quiet_period(abilities: Abilities) -> float:
    """Return the seconds after the last send in which "not found" proves nothing."""
    longest: float = settings.WITHDRAWAL_LEASE + settings.THIRD_PARTY_DEADLINE
    return max(settings.WITHDRAWAL_QUIET_PERIOD, longest + abilities.booking_time)


def distance(abilities: Abilities) -> float:
    """Return the seconds that two "not found" answers must be apart."""
    longest_call: float = settings.THIRD_PARTY_DEADLINE
    return longest_call + abilities.booking_time


def until_quiet(attempt: Attempt, abilities: Abilities, moment: Moment) -> float:
    """Return the seconds until the quiet period is over; 0 when it is."""
    passed = moment.waited_since(attempt, waits.SENT)
    by_database = (moment.now - attempt.last_sent_at).total_seconds()
    if by_database >= 0:
        passed = min(passed, by_database)
    return left(quiet_period(abilities), passed)


def until_distant(attempt: Attempt, abilities: Abilities, moment: Moment) -> float:
    """Return the seconds until a second "not found" counts; 0 when it does."""
    passed = moment.waited_since(attempt, waits.NOT_FOUND)
    return left(distance(abilities), passed)


def is_remembered(attempt: Attempt, abilities: Abilities, moment: Moment) -> bool:
    """Whether the look-up would certainly show a payment that the bank made."""
    age = moment.age(attempt, waits.SENT, attempt.last_sent_at)
    return age < abilities.lookup_window


def counts(
    attempt: Attempt, abilities: Abilities, *, asked: Moment, told: Moment
) -> bool:
    """Whether this "not found" is one of the two that proof needs."""
    quiet = not until_quiet(attempt, abilities, asked)
    return quiet and is_remembered(attempt, abilities, told)


def is_proof(
    attempt: Attempt, abilities: Abilities, *, asked: Moment, told: Moment
) -> bool:
    """Whether this "not found", with the earlier one, proves that nothing was paid."""
    return (
        counts(attempt, abilities, asked=asked, told=told)
        and attempt.not_found_count > 0
        and not until_distant(attempt, abilities, asked)
    )

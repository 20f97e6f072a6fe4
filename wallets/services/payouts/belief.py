"""When "not found" proves that an attempt was not paid. Pure: rows and clocks in, seconds out.

Note [Quiet period]: a look-up made at once says "not found" of a payment that is booked a
moment later; releasing on it pays and refunds. "Not found" is believed only when all of
this is so:

- Everything that could still make the payment appear is over, counted from the last send:
  the sender's lease (it sends nothing after it), the longest call, the bank's booking
  time. That is the quiet period.
- It was said twice, the longest call and the booking time apart, and nothing else between.
- The bank still remembers what it was asked last: its look-up window is not over.

The first two by elapsed time, because a database's clock may be set, and another server's
may be ahead: see Note [Lower bound] in `services.payouts.waits`. The quiet period by the
database's clock as well, unless that shows a time before the send: then it was set back,
and says nothing. The window is the other way round: it is over as soon as any clock says
so. A question counts as asked when it was taken up, and as answered when that is recorded:
the process may have been frozen for a day in between.
"""

from __future__ import annotations

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.services.payouts import waits
from wallets.services.payouts.moment import Moment, left
from wallets.utils.bank.interface import Abilities


def quiet_period(abilities: Abilities) -> float:
    """For how long after the last send "not found" proves nothing, in seconds."""
    longest: float = settings.WITHDRAWAL_LEASE + settings.THIRD_PARTY_DEADLINE
    return max(settings.WITHDRAWAL_QUIET_PERIOD, longest + abilities.booking_time)


def distance(abilities: Abilities) -> float:
    """How far apart the two answers must be, in seconds."""
    longest_call: float = settings.THIRD_PARTY_DEADLINE
    return longest_call + abilities.booking_time


def until_quiet(attempt: Attempt, abilities: Abilities, moment: Moment) -> float:
    """Seconds until the quiet period is over; 0 when it is."""
    passed = moment.waited_since(attempt, waits.SENT)
    by_database = (moment.now - attempt.last_sent_at).total_seconds()
    if by_database >= 0:
        passed = min(passed, by_database)
    return left(quiet_period(abilities), passed)


def until_distant(attempt: Attempt, abilities: Abilities, moment: Moment) -> float:
    """Seconds until a second "not found" is one; 0 when it is."""
    passed = moment.waited_since(attempt, waits.NOT_FOUND)
    return left(distance(abilities), passed)


def is_remembered(attempt: Attempt, abilities: Abilities, moment: Moment) -> bool:
    """Whether a payment that the bank made would certainly show in its look-up."""
    age = moment.age(attempt, waits.SENT, attempt.last_sent_at)
    return age < abilities.lookup_window


def counts(
    attempt: Attempt, abilities: Abilities, *, asked: Moment, told: Moment
) -> bool:
    """Whether "not found" is one of the two that it takes."""
    quiet = not until_quiet(attempt, abilities, asked)
    return quiet and is_remembered(attempt, abilities, told)


def is_proof(
    attempt: Attempt, abilities: Abilities, *, asked: Moment, told: Moment
) -> bool:
    """Whether "not found" proves, with what was said before, that it was not paid."""
    return (
        counts(attempt, abilities, asked=asked, told=told)
        and attempt.not_found_count > 0
        and not until_distant(attempt, abilities, asked)
    )

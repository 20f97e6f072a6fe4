"""Which attempt of a withdrawal the bank has paid, when an operator records the payment.

What the operator says comes first, then the open alarms which say that the bank has paid.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from wallets.errors import InvalidInput
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm
from wallets.services.withdrawals.recorded import paid_under
from wallets.services.withdrawals.reference import next_number, references_of


@dataclass(frozen=True)
class PaidAttempt:
    """The attempt to record. `answer` is as `withdrawals.recorded` reads it.

    `released`: the bank has paid this one, which ended as not paid. Its money was given
    back, so the next attempt is recorded for it.
    """

    number: int
    reference: uuid.UUID
    answer: str
    released: Attempt | None = None

    @property
    def number_at_bank(self) -> int:
        """The number of the attempt that the bank has paid."""
        return self.released.number if self.released else self.number


def choose(
    withdrawal: Transaction, named: uuid.UUID | None, *, any_reference: bool
) -> PaidAttempt:
    """Return the attempt to record. Call with the withdrawal locked. Reads only.

    `named`: the reference that the operator has given.

    :raises InvalidInput: it is another payment's; or alarms are about several attempts,
        and none is named.
    """
    following = next_number(withdrawal)
    possible = references_of(withdrawal, withdrawal.wallet.uuid)
    reference = named or _said(withdrawal, possible)
    if reference is None:
        _check_new(possible[following - 1])
        return PaidAttempt(following, possible[following - 1], "")
    answer = paid_under(reference)
    released = withdrawal.attempts.filter(reference=reference, open=None).first()
    if released is not None and released.outcome != Attempt.Outcome.ACCEPTED:
        _check_new(possible[following - 1])
        return PaidAttempt(following, possible[following - 1], answer, released)
    _check_new(reference)
    if reference in possible:
        return PaidAttempt(possible.index(reference) + 1, reference, answer)
    if any_reference:
        return PaidAttempt(following, reference, answer)
    raise InvalidInput(
        "This reference is none that the withdrawal's key leads to "
        f"({', '.join(map(str, possible))}): it is another payment's. Where the bank's "
        "list has none of these, leave the reference out.",
        field="reference",
    )


def _said(withdrawal: Transaction, possible: list[uuid.UUID]) -> uuid.UUID | None:
    """Return the reference of the attempt which alarms say is paid, if they do."""
    numbers = alarm.numbers_said_paid(withdrawal)
    said = [possible[each - 1] for each in numbers if 1 <= each <= len(possible)]
    if len(said) > 1:
        raise InvalidInput(
            "Alarms say that the bank has paid several attempts of it: give the "
            f"reference of the one to record ({', '.join(map(str, said))}).",
            field="reference",
        )
    return said[0] if said else None


def _check_new(reference: uuid.UUID) -> None:
    known = Attempt.objects.filter(reference=reference).first()
    if known is not None:
        raise InvalidInput(
            f"The books have this reference already: attempt {known.number} of "
            f"withdrawal {known.transaction_id}, {known.outcome or 'under way'}.",
            field="reference",
        )

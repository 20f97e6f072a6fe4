"""Requests for withdrawals, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from wallets.models.transaction import Transaction
from wallets.serializers import strict
from wallets.serializers.fields import AmountField, InstantField, RequestSerializer
from wallets.serializers.transaction import transaction_line


class WithdrawRequestSerializer(RequestSerializer):
    """A withdrawal to schedule."""

    amount = AmountField(
        help_text="In minor units; an integer. It may exceed the balance."
    )
    scheduled_for = InstantField(help_text="A future time, with its offset.")


# The members of an answer that change later, as a new withdrawal has them.
_NEW = {
    "status": Transaction.Status.PENDING,
    "executed_at": None,
    "retry_count": 0,
    "next_attempt_at": None,
    "failure_code": None,
    "needs_review": False,
    "cancelable": True,
    "third_party_response": None,
}
_READERS = WithdrawRequestSerializer.readers()


def read_withdrawal(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return amount and time. The balance is checked when the withdrawal is due.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _READERS)


def scheduled_line(withdrawal: Transaction, wallet: UUID) -> dict[str, Any]:
    """Return the withdrawal as the answer to its first request showed it: as new.

    A repeated request gets the same answer, whatever has become of the withdrawal.
    """
    return transaction_line(withdrawal, wallet) | _NEW

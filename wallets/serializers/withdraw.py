"""Requests for withdrawals, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from wallets.models.transaction import Transaction
from wallets.serializers import strict
from wallets.serializers.fields import (
    AmountField,
    ChoiceField,
    InstantField,
    RequestSerializer,
    WordsSerializer,
)
from wallets.serializers.transaction import IF_FROZEN, TransactionSerializer
from wallets.utils.words import NO_WORDS, Words, metadata_of


class WithdrawRequestSerializer(WordsSerializer, RequestSerializer):
    """A withdrawal to schedule."""

    amount = AmountField(
        help_text="In minor units; an integer. It may exceed the balance."
    )
    scheduled_for = InstantField(help_text="A future time, with its offset.")
    if_frozen = ChoiceField(
        "if_frozen",
        IF_FROZEN,
        required=False,
        allow_null=True,
        help_text="If the wallet is frozen when it is due: wait for the end of the "
        "freeze (the default), or fail for good.",
    )


class RescheduleRequestSerializer(RequestSerializer):
    """Another time for a withdrawal."""

    scheduled_for = InstantField(help_text="A future time, with its offset.")


# The answer to a new withdrawal, without what is its own.
_NEW = dict.fromkeys(TransactionSerializer().fields) | {
    "transaction_type": Transaction.TransactionType.WITHDRAWAL.value,
    "status": Transaction.Status.PENDING.value,
    "retry_count": 0,
    "needs_review": False,
    "cancelable": True,
}
_READERS = WithdrawRequestSerializer.readers()
_OPTIONAL = WithdrawRequestSerializer.readers(required=False)
_RESCHEDULE = RescheduleRequestSerializer.readers()


def read_withdrawal(
    body: Mapping[str, Any],
) -> tuple[int, datetime, bool, Words]:
    """Return amount, time, whether it fails if its wallet is frozen, and its words.

    The balance is checked when the withdrawal is due.

    :raises ValidationError: with every error of every field.
    """
    values = strict.read_fields(body, _READERS, _OPTIONAL)
    words = strict.words_of(values) if len(values) > len(_READERS) else NO_WORDS
    fails = values.get("if_frozen") == "fail"
    return values["amount"], values["scheduled_for"], fails, words


def read_reschedule(body: Mapping[str, Any]) -> datetime:
    """Return the new time.

    :raises ValidationError: with every error of every field.
    """
    when: datetime = strict.read_fields(body, _RESCHEDULE)["scheduled_for"]
    return when


def scheduled_line(withdrawal: Transaction, wallet: UUID) -> dict[str, Any]:
    """Return the withdrawal as the answer to its first request showed it: as new.

    A repeated request gets the same answer, whatever has become of the withdrawal.
    """
    return _NEW | {
        "id": withdrawal.id,
        "wallet": wallet,
        "amount": withdrawal.amount,
        "scheduled_for": withdrawal.requested_for,
        "created_at": withdrawal.created_at,
        "idempotency_key": withdrawal.idempotency_key,
        "description": withdrawal.description or None,
        "reference": withdrawal.reference or None,
        "metadata": metadata_of(withdrawal.metadata),
        "if_frozen": IF_FROZEN[withdrawal.fails_if_frozen],
    }

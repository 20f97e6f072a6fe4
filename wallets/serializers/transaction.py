"""The transaction as clients see it: the same everywhere."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from wallets.models.transaction import Transaction
from wallets.serializers.fields import (
    AmountField,
    CountField,
    IdField,
    InstantField,
    KeyField,
    WalletField,
    WordField,
)
from wallets.utils.bank.words import documented


class BankWordField(serializers.CharField):
    """What the bank has said of a transaction."""

    def to_representation(self, value: Any) -> Any:
        return _bank_says(value)


class TransactionSerializer(serializers.Serializer):
    """A deposit or a withdrawal. The order of the fields is part of the contract."""

    id = IdField(help_text="Unique in the service; it exists only below its wallet.")
    wallet = WalletField(source="wallet.uuid", help_text="The wallet.")
    amount = AmountField(help_text="In minor units.")
    transaction_type = WordField(
        Transaction.TransactionType.choices, help_text="Which of the two it is."
    )
    status = WordField(
        Transaction.Status.choices,
        help_text="A deposit is COMPLETED. A withdrawal is PENDING until its time, "
        "PROCESSING while its money is held, then COMPLETED or FAILED; CANCELLED when "
        "taken back.",
    )
    scheduled_for = InstantField(allow_null=True, help_text="When a withdrawal is due.")
    executed_at = InstantField(
        allow_null=True, help_text="When the money began to move."
    )
    created_at = InstantField(help_text="When it was requested.")
    retry_count = CountField(help_text="Retries made after the first attempt.")
    next_attempt_at = InstantField(
        allow_null=True,
        help_text="When a FAILED withdrawal is tried again; null when it is not.",
    )
    failure_code = WordField(
        [choice for choice in Transaction.FailureCode.choices if choice[0]],
        allow_null=True,
        help_text="Why it failed.",
    )
    needs_review = serializers.BooleanField(
        help_text="Nobody knows whether the bank paid, and an operator finds out. The "
        "money stays held meanwhile."
    )
    cancelable = serializers.BooleanField(
        help_text="Whether it can be taken back now: while it is PENDING, or FAILED "
        "with another attempt to come."
    )
    third_party_response = BankWordField(
        source="*",
        allow_null=True,
        help_text="What the bank answered about the last attempt, in its own documented "
        "words: a JSON object whose `data` is `success` or `failed`; or `Insufficient "
        "balance`, for which it was not asked. null while that is not known, or where "
        "the bank gave no such answer: `status` and `failure_code` say what became of "
        "it.",
    )
    idempotency_key = KeyField(
        help_text="The key that stands for this request: the client's, or ours where it "
        "sent none. Sent again with the same request, it does nothing twice."
    )


def transaction_line(transaction: Transaction) -> dict[str, Any]:
    """What `TransactionSerializer` makes of a transaction, for `strict_json.dumps`.

    A fraction of the work.
    """
    return {
        "id": transaction.pk,
        "wallet": transaction.wallet.uuid,
        "amount": transaction.amount,
        "transaction_type": transaction.transaction_type,
        "status": transaction.status,
        "scheduled_for": transaction.scheduled_for,
        "executed_at": transaction.executed_at,
        "created_at": transaction.created_at,
        "retry_count": transaction.retry_count,
        "next_attempt_at": transaction.next_attempt_at,
        "failure_code": transaction.failure_code or None,
        "needs_review": transaction.needs_review,
        "cancelable": transaction.cancelable,
        "third_party_response": _bank_says(transaction),
        "idempotency_key": transaction.idempotency_key,
    }


def _bank_says(transaction: Transaction) -> str | None:
    """The bank's documented word, also of rows that an earlier release has written.

    While the outcome is open, nothing that the bank has said counts.
    """
    if transaction.status == Transaction.Status.PROCESSING:
        return None
    return documented(transaction.third_party_response) or None

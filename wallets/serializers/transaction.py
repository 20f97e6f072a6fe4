"""Transactions in requests and answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from wallets.models.rows import TransactionRow
from wallets.models.states import is_cancelable
from wallets.models.transaction import Transaction
from wallets.serializers.fields import (
    AmountField,
    CorrectsField,
    CounterpartyField,
    CounterpartyReferenceField,
    CountField,
    IdField,
    InstantField,
    KeyField,
    MetadataField,
    ReferenceField,
    ReturnsField,
    TransferField,
    WalletField,
    WordField,
)
from wallets.utils.bank.words import documented
from wallets.utils.words import metadata_of

# As texts, because a member of an enumeration takes longer to find.
_WITHDRAWAL = Transaction.TransactionType.WITHDRAWAL.value
_PROCESSING = Transaction.Status.PROCESSING.value
# By whether the withdrawal fails.
IF_FROZEN = ("wait", "fail")


class BankWordField(serializers.CharField):
    """What the bank has said about a transaction."""

    def to_representation(self, value: Any) -> Any:
        return _bank_says(value)


class IfFrozenField(WordField):
    """What a withdrawal does if its wallet is frozen."""

    def to_representation(self, value: Any) -> Any:
        return _if_frozen(value)


class EmptyAsNullField(serializers.CharField):
    """A text of a row; the empty text becomes null."""

    def to_representation(self, value: Any) -> Any:
        return value or None


class TransactionSerializer(serializers.Serializer):
    """A deposit, a withdrawal, one half of a transfer, part of a correction, or a return.

    The order of the fields is part of the contract.
    """

    id = IdField(help_text="Unique in the service; found only under its wallet.")
    wallet = WalletField(source="wallet.uuid", help_text="The wallet.")
    amount = AmountField(help_text="In minor units.")
    transaction_type = WordField(
        Transaction.TransactionType.choices,
        help_text="Deposit, withdrawal, or half of a transfer or of a "
        "correction: out of this wallet, or into it; or the return of a payment by the "
        "bank, into it.",
    )
    status = WordField(
        Transaction.Status.choices,
        help_text="Deposits, transfers, corrections and returns are COMPLETED. A withdrawal is PENDING until its time, "
        "PROCESSING while its money is held, then COMPLETED or FAILED; CANCELLED when "
        "it was cancelled. It stays COMPLETED if the bank returns the payment later.",
    )
    scheduled_for = InstantField(allow_null=True, help_text="When a withdrawal is due.")
    executed_at = InstantField(
        allow_null=True, help_text="When the money moved or was sent."
    )
    created_at = InstantField(help_text="When it was requested.")
    retry_count = CountField(help_text="Retries made after the first attempt.")
    next_attempt_at = InstantField(
        allow_null=True,
        help_text="When a FAILED withdrawal is tried again; null without a retry.",
    )
    failure_code = WordField(
        [choice for choice in Transaction.FailureCode.choices if choice[0]],
        allow_null=True,
        help_text="Why it failed.",
    )
    needs_review = serializers.BooleanField(
        help_text="The outcome is unknown, and an operator must find it out. The money "
        "stays held meanwhile."
    )
    cancelable = serializers.BooleanField(
        help_text="Whether it can be cancelled now: while it is PENDING, or FAILED with "
        "a retry to come."
    )
    third_party_response = BankWordField(
        source="*",
        allow_null=True,
        help_text="The bank's documented answer to the last attempt: a JSON object whose "
        "`data` is `success` or `failed`; or `Insufficient balance`, if the bank was "
        "not called for lack of money. null while the outcome is unknown, or if the bank gave no such "
        "answer: see `status` and `failure_code`.",
    )
    transfer = TransferField()
    counterparty = CounterpartyField()
    counterparty_reference = CounterpartyReferenceField()
    corrects = CorrectsField()
    returns = ReturnsField()
    idempotency_key = KeyField(
        help_text="The idempotency key of the request: the client's, or one of ours if it "
        "sent none. The same request with this key has one effect."
    )
    description = EmptyAsNullField(
        allow_null=True, help_text="The client's text for people."
    )
    reference = ReferenceField(help_text="The client's own name of it.")
    metadata = MetadataField(help_text="The client's own texts by name.")
    if_frozen = IfFrozenField(
        IF_FROZEN,
        source="*",
        allow_null=True,
        help_text="What a withdrawal does if its wallet is frozen when it is due.",
    )


def transaction_line(
    transaction: Transaction | TransactionRow, wallet: UUID | str
) -> dict[str, Any]:
    """Return the same as `TransactionSerializer`, faster, for `strict_json.dumps`.

    `wallet` is the UUID of the transaction's wallet.
    """
    transfer, counterparty, reference = transaction.counterparty or (None, None, None)
    return {
        "id": transaction.id,
        "wallet": wallet,
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
        "cancelable": is_cancelable(transaction),
        "third_party_response": _bank_says(transaction),
        "transfer": transfer,
        "counterparty": counterparty,
        "counterparty_reference": reference,
        "corrects": transaction.corrected,
        "returns": transaction.returned,
        "idempotency_key": transaction.idempotency_key,
        "description": transaction.description or None,
        "reference": transaction.reference or None,
        "metadata": metadata_of(transaction.metadata),
        "if_frozen": _if_frozen(transaction),
    }


def _if_frozen(transaction: Transaction | TransactionRow) -> str | None:
    if transaction.transaction_type != _WITHDRAWAL:
        return None
    return IF_FROZEN[transaction.fails_if_frozen]


def _bank_says(transaction: Transaction | TransactionRow) -> str | None:
    """Return the bank's documented answer, also of rows of an earlier release.

    While the outcome is open, no answer counts.
    """
    if not transaction.third_party_response or transaction.status == _PROCESSING:
        return None
    return documented(transaction.third_party_response) or None

"""The transaction as clients see it: the same everywhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wallets.models.transaction import Transaction
from wallets.utils import instants
from wallets.utils.bank_words import documented


def transaction_line(transaction: Transaction) -> dict[str, Any]:
    """A deposit or a withdrawal. The order of the keys is part of the contract."""
    return {
        "id": transaction.pk,
        "wallet": str(transaction.wallet.uuid),
        "amount": transaction.amount,
        "transaction_type": transaction.transaction_type,
        "status": transaction.status,
        "scheduled_for": _instant(transaction.scheduled_for),
        "executed_at": _instant(transaction.executed_at),
        "created_at": _instant(transaction.created_at),
        "retry_count": transaction.retry_count,
        "next_attempt_at": _instant(transaction.next_attempt_at),
        "failure_code": transaction.failure_code or None,
        "needs_review": transaction.needs_review,
        "cancelable": transaction.cancelable,
        "third_party_response": _bank_says(transaction),
        "idempotency_key": str(transaction.idempotency_key),
    }


def _bank_says(transaction: Transaction) -> str | None:
    """The bank's documented word, also of rows that an earlier release has written.

    While the outcome is open, nothing that the bank has said counts.
    """
    if transaction.status == Transaction.Status.PROCESSING:
        return None
    return documented(transaction.third_party_response) or None


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instants.write(instant)

"""Transactions that are COMPLETED when they are written."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from wallets.models.transaction import Transaction
from wallets.utils.caller import Caller
from wallets.utils.words import NO_WORDS, Words


def completed(
    transaction_type: str,
    amount: int,
    key: uuid.UUID,
    now: datetime,
    caller: Caller,
    words: Words = NO_WORDS,
) -> dict[str, Any]:
    """Return the columns of a caller's transaction whose money moves at `now` (UTC).

    The amount is in minor units. The wallet is left to the caller.
    """
    return {
        "transaction_type": transaction_type,
        "amount": amount,
        "status": Transaction.Status.COMPLETED,
        "executed_at": now,
        "created_at": now,
        "updated_at": now,
        "idempotency_key": key,
        "tenant": caller.tenant,
        "actor": caller.actor,
        **words._asdict(),
    }

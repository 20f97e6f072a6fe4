"""Rows as the answers of reads show them: only these columns, and no model's instance.

An instance costs more than all the rest of a row. No tables.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NamedTuple

from wallets.models.counterparty import Counterparty
from wallets.models.ledger import change_of


class _TransactionColumns(NamedTuple):
    id: int
    transaction_type: str
    amount: int
    status: str
    scheduled_for: datetime | None
    executed_at: datetime | None
    created_at: datetime
    retry_count: int
    next_attempt_at: datetime | None
    final: bool
    unknown_since: datetime | None
    needs_review: bool
    failure_code: str
    third_party_response: str
    idempotency_key: uuid.UUID
    description: str
    reference: str
    metadata: str
    fails_if_frozen: bool


class _MovementColumns(NamedTuple):
    transaction_id: int
    attempt_number: int
    kind: str
    from_account: str
    to_account: str
    amount: int
    sequence: int
    balance_after: int
    created_at: datetime


class _Related:
    """What a row refers to; `services.reads.relations` sets it."""

    counterparty: Counterparty | None = None
    corrected: int | None = None
    returned: int | None = None


class TransactionRow(_Related, _TransactionColumns):
    """A transaction; its columns mean the same as the model's."""


class MovementRow(_Related, _MovementColumns):
    """A movement; its columns mean the same as the model's."""

    @property
    def change(self) -> int:
        """The change of the wallet's balance (minor units): positive, negative or 0."""
        return change_of(self.amount, self.from_account, self.to_account)

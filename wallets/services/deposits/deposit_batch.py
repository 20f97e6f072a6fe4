"""The deposits of one transaction, step by step: check each in turn, then write all.

`services.deposits.deposit` uses it for whatever the fast path of PostgreSQL does not do.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.requests import idempotency
from wallets.services.requests.batch import Answer, Batch
from wallets.utils.database.transactions import database_now

_DEPOSIT = Transaction.TransactionType.DEPOSIT


class DepositRequest:
    """One deposit; the amount is in minor units. UUIDs are kept as canonical text."""

    __slots__ = ("amount", "key_text", "wallet_text")
    scheduled_for = None

    def __init__(
        self, wallet: uuid.UUID | str, amount: int, key: uuid.UUID | str
    ) -> None:
        self.wallet_text = str(wallet)
        self.amount = amount
        self.key_text = str(key)

    @property
    def wallet_uuid(self) -> uuid.UUID:
        """The wallet that gets the money."""
        return uuid.UUID(self.wallet_text)

    @property
    def key(self) -> uuid.UUID:
        """The idempotency key."""
        return uuid.UUID(self.key_text)


def columns_of(request: DepositRequest, now: datetime) -> dict[str, Any]:
    """Return the columns of a new deposit, which is COMPLETED when written."""
    return {
        "transaction_type": _DEPOSIT,
        "amount": request.amount,
        "status": Transaction.Status.COMPLETED,
        "executed_at": now,
        "created_at": now,
        "updated_at": now,
        "idempotency_key": request.key,
    }


def deposit_in_steps(
    requests: Sequence[DepositRequest], now: datetime | None = None, wait: bool = True
) -> list[Answer]:
    """Make deposits as `deposit_many` does. Call inside a transaction.

    With `wait=False` a key that another transaction uses at this moment raises a lock
    time-out, on engines that can tell.
    """
    uuids = {request.wallet_uuid for request in requests}
    wallets = postings.lock_wallets_by_uuid(uuids, wait=wait)
    others = uuids - wallets.keys()
    # Read the keys after the wallets are locked. Otherwise the same request, made
    # concurrently, could have used the last room of the wallet before its key is seen
    # here.
    batch = _Deposits(
        wallets=wallets,
        held=postings.known_wallets(others) if others and not wait else set(),
        made=idempotency.find_made([one.key for one in requests], wait=wait),
        now=now or database_now(),
    )
    return batch.answers(requests)


@dataclass(kw_only=True)
class _Deposits(Batch[DepositRequest]):
    """The deposits of one transaction.

    A key that another transaction has taken meanwhile was used for another wallet or
    for a withdrawal, because deposits of this wallet wait for its lock. So a row of
    another request is never taken for one of these.
    """

    _added: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    transaction_type = _DEPOSIT

    def plan(self, request: DepositRequest) -> Transaction:
        wallet = self.wallet_of(request)
        added = self._added[wallet.pk] + request.amount
        postings.check_deposit(wallet, added)
        self._added[wallet.pk] = added
        return Transaction(wallet=copy.copy(wallet), **columns_of(request, self.now))

    def write(self, rows: Sequence[Transaction]) -> None:
        """Post the movements; set `balance_after` of each deposit."""
        movements = postings.post(
            [Posting(Movement.Kind.DEPOSIT, deposit) for deposit in rows],
            {wallet.pk: wallet for wallet in self.wallets.values()},
            now=self.now,
        )
        for deposit, movement in zip(rows, movements, strict=True):
            deposit.balance_after = movement.balance_after
            deposit.wallet.balance = movement.balance_after

"""The deposits of one transaction, step by step: check each in turn, then write all.

`services.deposits.deposit` uses it for whatever the fast path of PostgreSQL does not do.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wallets.errors import IdempotencyKeyReused, Refusal
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.requests import idempotency
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import checked_amount
from wallets.utils.database.transactions import database_now

if TYPE_CHECKING:
    from wallets.services.deposits.deposit import Answer, DepositRequest

_DEPOSIT = Transaction.TransactionType.DEPOSIT


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
    batch = _Batch(
        wallets,
        held=postings.known_wallets(others) if others and not wait else set(),
        made=idempotency.find_made([one.key for one in requests], wait=wait),
        now=now or database_now(),
    )
    answers = [batch.judge(request) for request in requests]

    # After this point the deposits must succeed.
    batch.write()
    return [
        batch.answer(request, planned)
        for request, planned in zip(requests, answers, strict=True)
    ]


class _Batch:
    """The deposits of one transaction: checked one after the other, then written."""

    def __init__(
        self,
        wallets: dict[uuid.UUID, Wallet],
        *,
        held: set[uuid.UUID],
        made: dict[uuid.UUID, Transaction],
        now: datetime,
    ) -> None:
        self._wallets = wallets
        self._held = held
        self._made = made
        self._now = now
        self._put_off: set[uuid.UUID] = set()
        self._new: dict[uuid.UUID, Transaction] = {}
        self._added: dict[int, int] = defaultdict(int)

    def judge(self, request: DepositRequest) -> Answer | None:
        """Accept, replay or refuse the request. None: a repeated key of this batch."""
        wallet = self._wallets.get(request.wallet_uuid)
        try:
            checked_amount(request.amount)
            if request.key in self._made:
                return _replay(self._made[request.key], request)
            # The first request with a key counts, even when it is `Busy`.
            if request.wallet_uuid in self._held or request.key in self._put_off:
                self._put_off.add(request.key)
                return Busy()
            if request.key in self._new:
                return None
            if wallet is None:
                return Wallet.DoesNotExist(f"no wallet {request.wallet_uuid}")
            added = self._added[wallet.pk] + request.amount
            postings.check_deposit(wallet, added)
        except Refusal as refusal:
            return refusal
        self._added[wallet.pk] = added
        deposit = Transaction(
            wallet=copy.copy(wallet), **columns_of(request, self._now)
        )
        self._new[request.key] = deposit
        return deposit

    def write(self) -> None:
        """Insert the accepted deposits and their movements.

        Sets the id and `balance_after` of each deposit. A key that another transaction
        has taken meanwhile inserts nothing here. It was used for another wallet or for
        a withdrawal, because deposits of this wallet wait for its lock. So a row of
        another request is never taken for one of these.
        """
        planned = list(self._new.values())
        self._made |= idempotency.insert_new(planned)
        deposits = [deposit for deposit in planned if deposit.pk is not None]
        movements = postings.post(
            [Posting(Movement.Kind.DEPOSIT, deposit) for deposit in deposits],
            {wallet.pk: wallet for wallet in self._wallets.values()},
            now=self._now,
        )
        for deposit, movement in zip(deposits, movements, strict=True):
            deposit.balance_after = movement.balance_after
            deposit.wallet.balance = movement.balance_after

    def answer(self, request: DepositRequest, planned: Answer | None) -> Answer:
        """Return the result of a request: as accepted, or the replay of its key.

        The key was used earlier in this batch, or by another transaction meanwhile.
        """
        lost = isinstance(planned, Transaction) and planned.pk is None
        if planned is not None and not lost:
            return planned
        made = self._made.get(request.key) or self._new[request.key]
        try:
            return _replay(copy.copy(made), request)
        except IdempotencyKeyReused as refusal:
            return refusal


def _replay(made: Transaction, request: DepositRequest) -> Transaction:
    return idempotency.replay(
        made,
        transaction_type=_DEPOSIT,
        wallet_uuid=request.wallet_uuid,
        amount=request.amount,
    )

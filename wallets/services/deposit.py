"""Deposits: many in one transaction, each with an answer of its own.

A deposit that comes alone, those that come at the same moment and those of one bulk request
are all written here. A refused one never keeps the others from being done.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection
from django.utils import timezone

from wallets.errors import IdempotencyKeyReused, Refusal
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services import idempotency, ledger, ledger_postgresql
from wallets.services.checks import checked_amount, is_amount
from wallets.services.ledger import Entry
from wallets.services.ledger_postgresql import Deposited
from wallets.utils import clock
from wallets.utils.batch import as_stored, insert_rows
from wallets.utils.db import (
    CLIENT_PATIENCE_SECONDS,
    run_in_transaction,
    run_unless_locked,
)

T = TypeVar("T")

# As many as one call of `deposit_many` should do: it holds all their wallets meanwhile.
MAX_MANY = 1000
# A group waits this long for wallets that others hold: as a rule another process's group,
# for a moment. If that was not enough it waits for none for a while.
LOCK_WAIT_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0

_DEPOSIT = Transaction.TransactionType.DEPOSIT


@dataclass(frozen=True)
class DepositRequest:
    """What to deposit."""

    wallet_uuid: uuid.UUID
    amount: int
    key: uuid.UUID


class WalletBusy(Exception):
    """Another transaction holds the wallet, or there is none: ask again, and wait."""


# The transaction, with `balance_after`; or why there is none.
Answer = Transaction | Refusal | Wallet.DoesNotExist | WalletBusy


def deposit_many(
    requests: Sequence[DepositRequest],
    *,
    now: datetime | None = None,
    wait: bool = True,
) -> list[Answer]:
    """Deposit what can be deposited; answer each request, in order.

    Opens its own transaction; locks the wallets by id. Unless it may `wait`, the answer
    for a wallet that is locked (or does not exist) is `WalletBusy`. On PostgreSQL that is
    one statement, and a second transaction for those that it could not do.
    """
    if connection.vendor != "postgresql":
        return _run(lambda: _deposit_many(requests, now, wait))
    lock_wait = None if wait else 0
    made = _run(lambda: _deposit_at_once(requests, now, lock_wait), one_statement=True)
    left = [n for n in range(len(requests)) if n not in made]
    if left and wait:
        some = [requests[n] for n in left]
        answers = _run(lambda: _deposit_many(some, now, wait))
        made |= zip(left, answers, strict=True)
    return [made.get(n) or WalletBusy() for n in range(len(requests))]


def _run(work: Callable[[], T], *, one_statement: bool = False) -> T:
    return run_in_transaction(
        work, patience=CLIENT_PATIENCE_SECONDS, one_statement=one_statement
    )


class _Group:
    """Deposits of many who did not choose each other: nobody waits long for the rest."""

    def __init__(self) -> None:
        self._impatient_until = 0.0

    def deposit(self, requests: Sequence[DepositRequest]) -> list[Answer]:
        """Deposit; the answer for a wallet that is locked for longer is `WalletBusy`.

        Opens its own transaction; locks the wallets by id.
        """
        if (
            connection.vendor == "postgresql"
            and clock.elapsed() > self._impatient_until
        ):
            made = run_unless_locked(
                lambda: _deposit_at_once(requests, None, LOCK_WAIT_SECONDS)
            )
            if made is not None:
                return [made.get(n) or WalletBusy() for n in range(len(requests))]
            self._impatient_until = clock.elapsed() + IMPATIENT_SECONDS
        return deposit_many(requests, wait=False)


deposit_group = _Group().deposit


def _deposit_at_once(
    requests: Sequence[DepositRequest], now: datetime | None, lock_wait: float | None
) -> dict[int, Answer]:
    """Make the deposits that nothing stands in the way of; answer them by place."""
    now = now or timezone.now()
    # Of a key's requests the first one counts; the others are repetitions.
    first = {request.key: n for n, request in reversed(list(enumerate(requests)))}
    fit = [
        (request.wallet_uuid, request.amount, request.key)
        for n, request in enumerate(requests)
        if first[request.key] == n and is_amount(request.amount)
    ]
    done = ledger_postgresql.deposit(fit, now=now, lock_wait=lock_wait) if fit else {}
    return {
        first[key]: _transaction_of(requests[first[key]], made, now)
        for key, made in done.items()
    }


def _transaction_of(
    request: DepositRequest, made: Deposited, now: datetime
) -> Transaction:
    wallet = as_stored(
        Wallet,
        id=made.wallet_id,
        uuid=request.wallet_uuid,
        balance=made.balance_after,
        held=made.held,
    )
    deposit = as_stored(
        Transaction,
        id=made.transaction_id,
        **_columns(request, now),
    )
    deposit.wallet = wallet
    deposit.balance_after = made.balance_after
    return deposit


def _columns(request: DepositRequest, now: datetime) -> dict[str, Any]:
    """A deposit's own columns: done when written."""
    return {
        "transaction_type": _DEPOSIT,
        "amount": request.amount,
        "status": Transaction.Status.COMPLETED,
        "executed_at": now,
        "created_at": now,
        "idempotency_key": request.key,
    }


def _deposit_many(
    requests: Sequence[DepositRequest], now: datetime | None, wait: bool
) -> list[Answer]:
    uuids = {request.wallet_uuid for request in requests}
    wallets = ledger.lock_wallets_by_uuid(uuids, wait=wait)
    # With the locks held, so that the same request, made at the same time, is seen before
    # what it did to the balance is: it may have taken the last room.
    batch = _Batch(
        wallets,
        made=idempotency.find_made([request.key for request in requests]),
        now=now or timezone.now(),
        wait=wait,
    )
    answers = [batch.judge(request) for request in requests]

    # After this point the deposits must succeed.
    batch.write()
    return [
        batch.repeat(request) if answer is None else answer
        for request, answer in zip(requests, answers, strict=True)
    ]


class _Batch:
    """The deposits of one transaction: judged one after the other, then written."""

    def __init__(
        self,
        wallets: dict[uuid.UUID, Wallet],
        *,
        made: dict[uuid.UUID, Transaction],
        now: datetime,
        wait: bool,
    ) -> None:
        self._wallets = wallets
        self._made = made
        self._now = now
        self._wait = wait
        self._new: dict[uuid.UUID, Transaction] = {}
        self._added: dict[int, int] = defaultdict(int)

    def judge(self, request: DepositRequest) -> Answer | None:
        """Plan the deposit, replay it, or refuse it. None: it repeats one of this batch."""
        wallet = self._wallets.get(request.wallet_uuid)
        try:
            checked_amount(request.amount)
            if request.key in self._made:
                return _replay(self._made[request.key], request)
            if wallet is None and not self._wait:
                return WalletBusy()
            if request.key in self._new:
                return None
            if wallet is None:
                return Wallet.DoesNotExist(f"no wallet {request.wallet_uuid}")
            added = self._added[wallet.pk] + request.amount
            ledger.check_deposit(wallet, added)
        except Refusal as refusal:
            return refusal
        self._added[wallet.pk] = added
        deposit = Transaction(wallet=copy.copy(wallet), **_columns(request, self._now))
        self._new[request.key] = deposit
        return deposit

    def write(self) -> None:
        """Write the planned deposits; each learns its id and the balance after it."""
        deposits = list(self._new.values())
        insert_rows(Transaction, deposits, known_by="idempotency_key")
        movements = ledger.post(
            [Entry(Movement.Kind.DEPOSIT, deposit) for deposit in deposits],
            {wallet.pk: wallet for wallet in self._wallets.values()},
            now=self._now,
        )
        for deposit, movement in zip(deposits, movements, strict=True):
            deposit.balance_after = movement.balance_after
            deposit.wallet.balance = movement.balance_after

    def repeat(self, request: DepositRequest) -> Answer:
        """Answer a request whose key made a deposit earlier in this batch."""
        try:
            return _replay(copy.copy(self._new[request.key]), request)
        except IdempotencyKeyReused as refusal:
            return refusal


def _replay(made: Transaction, request: DepositRequest) -> Transaction:
    return idempotency.replay(
        made,
        transaction_type=_DEPOSIT,
        wallet_uuid=request.wallet_uuid,
        amount=request.amount,
    )

"""Deposits: many in one transaction, each with an answer of its own.

A deposit that comes alone, those that come at the same moment and those of one bulk request
are all written here. A refused one never keeps the others from being done.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

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
from wallets.utils.batch import as_stored, insert_rows
from wallets.utils.db import CLIENT_PATIENCE_SECONDS, run_in_transaction

T = TypeVar("T")

# As many as one call of `deposit_many` should do: it holds all their wallets meanwhile.
MAX_MANY = 1000

_DEPOSIT = Transaction.TransactionType.DEPOSIT


class DepositRequest:
    """What to deposit. UUIDs are kept as canonical text: so most come, and so they go."""

    __slots__ = ("amount", "key_text", "wallet_text")

    def __init__(
        self, wallet: uuid.UUID | str, amount: int, key: uuid.UUID | str
    ) -> None:
        self.wallet_text = str(wallet)
        self.amount = amount
        self.key_text = str(key)

    @property
    def wallet_uuid(self) -> uuid.UUID:
        """Whose money it will be."""
        return uuid.UUID(self.wallet_text)

    @property
    def key(self) -> uuid.UUID:
        """The idempotency key."""
        return uuid.UUID(self.key_text)


class Made(NamedTuple):
    """A deposit that was made right now, without the `Transaction` that shows it."""

    request: DepositRequest
    now: datetime
    row: Deposited
    replayed: bool = False

    def transaction(self) -> Transaction:
        """The deposit as if it had been read."""
        pk, wallet_id, balance, held = self.row
        uuid = self.request.wallet_uuid
        deposit = as_stored(Transaction, id=pk, **_columns(self.request, self.now))
        deposit.wallet = as_stored(
            Wallet, id=wallet_id, uuid=uuid, balance=balance, held=held
        )
        deposit.balance_after = balance
        return deposit


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
    for a wallet that is locked (or does not exist) is `WalletBusy`.
    """
    answers = deposit_bulk(requests, now=now, wait=wait)
    return [a.transaction() if isinstance(a, Made) else a for a in answers]


def deposit_bulk(
    requests: Sequence[DepositRequest],
    *,
    now: datetime | None = None,
    wait: bool = True,
) -> list[Answer | Made]:
    """Do as `deposit_many`, for who needs no `Transaction` of what is made right now.

    On PostgreSQL that is one statement, and a second transaction for those that it could
    not do.
    """
    if connection.vendor != "postgresql":
        return [*_run(lambda: deposit_in_steps(requests, now, wait))]
    work = partial(
        deposit_at_once, dict(enumerate(requests)), now, skip_locked=not wait
    )
    answers: dict[int, Answer | Made] = {**_run(work, one_statement=True)}
    left = {n: request for n, request in enumerate(requests) if n not in answers}
    if left and wait:
        judged = _run(lambda: deposit_in_steps([*left.values()], now, wait))
        answers |= zip(left, judged, strict=True)
    return [answers.get(n) or WalletBusy() for n in range(len(requests))]


def _run(work: Callable[[], T], *, one_statement: bool = False) -> T:
    return run_in_transaction(
        work, patience=CLIENT_PATIENCE_SECONDS, one_statement=one_statement
    )


def deposit_at_once(
    requests: Mapping[int, DepositRequest],
    now: datetime | None = None,
    *,
    skip_locked: bool = False,
    lock_wait: float | None = None,
) -> dict[int, Made]:
    """Make the deposits that nothing stands in the way of; answer them by number.

    One statement of PostgreSQL's, to be run in a transaction of its own. For wallets that
    others hold see `ledger_postgresql.deposit`.
    """
    now = now or timezone.now()
    # Of a key's requests the first one counts; the others are repetitions.
    first = {request.key_text: n for n, request in reversed([*requests.items()])}
    fit = [
        (request.wallet_text, request.amount, request.key_text)
        for n, request in requests.items()
        if first[request.key_text] == n and is_amount(request.amount)
    ]
    if not fit:
        return {}
    done = ledger_postgresql.deposit(
        fit, now=now, skip_locked=skip_locked, lock_wait=lock_wait
    )
    return {
        first[key]: Made(requests[first[key]], now, row) for key, row in done.items()
    }


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


def deposit_in_steps(
    requests: Sequence[DepositRequest], now: datetime | None = None, wait: bool = True
) -> list[Answer]:
    """Deposit as `deposit_many` does. Call inside a transaction."""
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

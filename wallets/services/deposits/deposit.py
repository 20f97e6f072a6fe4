"""Deposits: many in one transaction, each with an answer of its own.

A deposit that comes alone, those that come at the same moment and those of one bulk request
are all written here. A refused one never keeps the others from being done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from django.db import connection

from wallets.errors import Refusal
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit_batch import columns_of, deposit_in_steps
from wallets.services.ledger import ledger_postgresql
from wallets.services.ledger.ledger_postgresql import Deposited
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import is_amount
from wallets.services.requests.group import KEY_WAIT_SECONDS
from wallets.utils.database.batch import as_stored
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    limit_lock_wait,
    run_in_transaction,
    run_unless_locked,
)

T = TypeVar("T")

# As many as one call of `deposit_many` should do: it holds all their wallets meanwhile.
MAX_MANY = 1000


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
        deposit = as_stored(Transaction, id=pk, **columns_of(self.request, self.now))
        deposit.wallet = as_stored(
            Wallet, id=wallet_id, uuid=uuid, balance=balance, held=held
        )
        deposit.balance_after = balance
        return deposit


# The transaction, with `balance_after`; or why there is none.
Answer = Transaction | Refusal | Wallet.DoesNotExist | Busy


def deposit_many(
    requests: Sequence[DepositRequest],
    *,
    now: datetime | None = None,
    wait: bool = True,
) -> list[Answer]:
    """Deposit what can be deposited; answer each request, in order.

    Opens its own transactions; locks the wallets by id, then takes the keys in their
    order. Unless it may `wait`, the answer for a wallet that is locked is `Busy`;
    on PostgreSQL also for all else that it could not do at once.
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
    answers: dict[int, Answer | Made] = {}
    left = dict(enumerate(requests))
    # First what nothing stands in the way of: nobody shall wait for a wallet of these
    # because these wait for another. One alone keeps nobody waiting.
    alone = wait and len(left) <= 1
    if connection.vendor == "postgresql":
        at_once = partial(deposit_at_once, left, now, skip_locked=not alone)
        answers |= _run(at_once, one_statement=True)
    elif connection.vendor == "mysql" and not alone:
        answers |= deposit_unless_locked(left, now) or {}
    left = {n: one for n, one in left.items() if is_busy(answers.get(n))}
    if left and (wait or connection.vendor == "sqlite"):
        judged = _run(lambda: deposit_in_steps([*left.values()], now, wait))
        answers |= zip(left, judged, strict=True)
    return [answers.get(n) or Busy() for n in range(len(requests))]


def _run(work: Callable[[], T], *, one_statement: bool = False) -> T:
    return run_in_transaction(
        work, patience=CLIENT_PATIENCE_SECONDS, one_statement=one_statement
    )


def deposit_unless_locked(
    requests: Mapping[int, DepositRequest], now: datetime | None = None
) -> dict[int, Answer] | None:
    """Deposit step by step, and wait for nobody; answer by number.

    None: somebody is just using one of the keys, and nothing was done.
    """

    def work() -> list[Answer]:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return deposit_in_steps([*requests.values()], now, wait=False)

    answers = run_unless_locked(work)
    return None if answers is None else dict(zip(requests, answers, strict=True))


def is_busy(answer: Answer | Made | None) -> bool:
    """Whether a request has no answer yet that may be given."""
    return answer is None or isinstance(answer, Busy)


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
        first[key]: Made(requests[first[key]], at, row)
        for key, (at, row) in done.items()
    }

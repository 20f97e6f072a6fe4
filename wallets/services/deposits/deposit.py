"""Deposits: many in one transaction, with one result each.

Single deposits, batches of concurrent requests and bulk requests are all written here.
A refused deposit does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.db import connection

from wallets.services.deposits.deposit_batch import (
    DepositReceipt,
    DepositRequest,
    DepositResult,
    deposit_in_steps,
)
from wallets.services.ledger import ledger_postgresql
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import is_amount
from wallets.services.requests.group import KEY_WAIT_SECONDS
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    limit_lock_wait,
    run_in_transaction,
    run_unless_locked,
)

__all__ = [
    "MAX_MANY",
    "DepositReceipt",
    "DepositRequest",
    "DepositResult",
    "deposit_many",
]

T = TypeVar("T")

# The most requests for one call of `deposit_many`, which locks all their wallets.
MAX_MANY = 1000


def deposit_many(
    requests: Sequence[DepositRequest],
    *,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    wait: bool = True,
) -> list[DepositResult]:
    """Make a caller's deposits; return one result for each request, in order.

    The keys belong to the caller's tenant. Whether the caller may see the wallets is
    decided by whoever calls (`views.http.tenancy`).

    A result is the receipt, or the refusal that `WalletService.deposit` would raise.
    Opens its own transactions; locks the wallets by id, then takes the keys in the
    order of their index. With `wait=False` the result for a locked wallet is `Busy`; on
    PostgreSQL also for every request that the fast path cannot do.

    On PostgreSQL the fast path is one statement; a second transaction does the rest.
    """
    answers: dict[int, DepositResult] = {}
    left = dict(enumerate(requests))
    # First those without a conflict: their wallets must not stay locked while the
    # others wait for a wallet. A single request locks only its own wallet.
    alone = wait and len(left) <= 1
    if connection.vendor == "postgresql":
        at_once = partial(
            deposit_at_once, left, now, caller=caller, skip_locked=not alone
        )
        answers |= _run(at_once, one_statement=True)
    elif connection.vendor == "mysql" and not alone:
        answers |= deposit_unless_locked(left, now, caller=caller) or {}
    left = {n: one for n, one in left.items() if is_busy(answers.get(n))}
    if left and (wait or connection.vendor == "sqlite"):
        judged = _run(lambda: deposit_in_steps([*left.values()], now, wait, caller))
        answers |= zip(left, judged, strict=True)
    return [answers.get(n) or Busy() for n in range(len(requests))]


def _run(work: Callable[[], T], *, one_statement: bool = False) -> T:
    return run_in_transaction(
        work, patience=CLIENT_PATIENCE_SECONDS, one_statement=one_statement
    )


def deposit_unless_locked(
    requests: Mapping[int, DepositRequest],
    now: datetime | None = None,
    *,
    caller: Caller = ANYBODY,
) -> dict[int, DepositResult] | None:
    """Make deposits step by step without waiting for locks; return results by number.

    Opens its own transaction. Returns None, and changes nothing, if another transaction
    uses one of the keys at this moment.
    """

    def work() -> list[DepositResult]:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return deposit_in_steps([*requests.values()], now, False, caller)

    answers = run_unless_locked(work)
    return None if answers is None else dict(zip(requests, answers, strict=True))


def is_busy(answer: DepositResult | None) -> bool:
    """Whether the request must be tried again: no result yet, or `Busy`."""
    return answer is None or isinstance(answer, Busy)


def deposit_at_once(
    requests: Mapping[int, DepositRequest],
    now: datetime | None = None,
    *,
    caller: Caller = ANYBODY,
    skip_locked: bool = False,
    lock_wait: float | None = None,
) -> dict[int, DepositReceipt]:
    """Make all deposits without a conflict in one statement; return results by number.

    For PostgreSQL. Call in a transaction of its own (`run_in_transaction(…,
    one_statement=True)`). `ledger_postgresql.deposit` says what happens with locked
    wallets.
    """
    # Among requests with the same key, the first one counts; the others are replays. One
    # that is refused for its amount has no key: else the next one would be left for later,
    # and come after others of its wallet.
    first = {
        request.key_text: n
        for n, request in reversed([*requests.items()])
        if is_amount(request.amount)
    }
    fit = [
        (request.wallet_text, request.amount, request.key_text)
        for n, request in requests.items()
        if first.get(request.key_text) == n
    ]
    if not fit:
        return {}
    words = {key: requests[first[key]].words for _, _, key in fit}
    done = ledger_postgresql.deposit(
        fit,
        words=[*words.values()] if any(map(any, words.values())) else None,
        caller=caller,
        now=now,
        skip_locked=skip_locked,
        lock_wait=lock_wait,
    )
    return {
        first[key]: DepositReceipt(
            requests[first[key]], at, pk, wallet_id, balance, caller=caller
        )
        for key, at, pk, wallet_id, balance in done
    }

"""Transfers: many in one transaction, with one result each.

Single transfers, batches of concurrent requests and bulk requests are all made here.
A refused transfer does not stop the others.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import uuid4

from django.db import connection

from wallets.models.transfer import Transfer
from wallets.services.ledger import postings, transfers_postgresql
from wallets.services.requests import idempotency, patience
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import checked_amount, checked_uuid, is_amount
from wallets.services.requests.group import KEY_WAIT_SECONDS, in_halves
from wallets.services.requests.patience import Patience
from wallets.services.transfers.transfer_batch import (
    TransferReceipt,
    TransferRequest,
    TransferResult,
    transfer_in_steps,
)
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.batch import as_stored
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    limit_lock_wait,
    run_in_transaction,
    run_unless_locked,
)
from wallets.utils.words import NO_WORDS, Words

__all__ = [
    "MAX_MANY",
    "TransferGroup",
    "TransferReceipt",
    "TransferRequest",
    "TransferResult",
    "transfer",
    "transfer_many",
]

# The most requests for one call of `transfer_many`, which locks all their wallets.
MAX_MANY = 1000

T = TypeVar("T")
Numbered = dict[int, TransferRequest]
Results = dict[int, TransferResult]


def transfer(
    from_wallet: uuid.UUID | str,
    to_wallet: uuid.UUID | str,
    amount: int,
    idempotency_key: uuid.UUID | str | None = None,
    *,
    words: Words = NO_WORDS,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
) -> Transfer:
    """Move money (minor units) from one wallet to another, at once.

    Opens its own transaction; on return it is committed. Locks both wallets. A
    repeated key returns the first transfer.

    :raises InvalidAmount: (a `ValueError`) not an integer from 1 to 10**15.
    :raises InvalidIdempotencyKey: (a `ValueError`) not a UUID.
    :raises IdempotencyKeyReused: the key stands for another request.
    :raises InvalidInput: both wallets are the same one.
    :raises Wallet.DoesNotExist: no such wallet.
    :raises CurrencyMismatch: the wallets have different currencies.
    :raises WalletClosed: one of them is closed.
    :raises WalletFrozen: one gives no money, or the other takes none.
    :raises InsufficientBalance: the wallet's balance is smaller than the amount.
    :raises BalanceLimit: the other wallet has no room for the amount.
    """
    amount = checked_amount(amount)
    key = idempotency.parse_key(idempotency_key)
    ends = checked_uuid(from_wallet), checked_uuid(to_wallet)
    request = TransferRequest(*ends, amount, key, words)
    (result,) = transfer_many([request], caller=caller, now=now)
    if isinstance(result, Exception):
        raise result
    return result.transfer


def transfer_many(
    requests: Sequence[TransferRequest],
    *,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    wait: bool = True,
) -> list[TransferResult]:
    """Make a caller's transfers, in order; return one result for each, in order.

    The keys belong to the caller's tenant.

    A result is the receipt, or the refusal that `transfer` would raise. Opens its own
    transactions; locks the wallets by id, then takes the keys in the order of their
    index. With `wait=False` a request that conflicts with another transaction, or
    meets damaged rows, gets `Busy`, and the others are done: see `in_halves`.

    On PostgreSQL the fast path is one statement, for requests that all succeed.
    """
    if not wait:
        return in_halves(partial(_unless_locked, now=now, caller=caller), requests)
    numbered = dict(enumerate(requests))
    answers: Results = {}
    if connection.vendor == "postgresql":
        at_once = partial(
            transfer_at_once, numbered, now, caller=caller, whole=len(requests) > 1
        )
        answers |= _run(at_once, one_statement=True)
    left = {n: one for n, one in numbered.items() if n not in answers}
    if left:
        some = [*left.values()]
        judged = _run(lambda: transfer_in_steps(some, now, caller=caller))
        answers |= zip(left, judged, strict=True)
    return [answers[n] for n in numbered]


def transfer_after(
    wallets: Collection[uuid.UUID],
    requests: Sequence[TransferRequest],
    *,
    caller: Caller,
) -> list[TransferResult]:
    """Make transfers as `transfer_many`, after other transactions have left `wallets`.

    Until then it locks no other wallet, so that nobody waits for those.
    """
    _run(lambda: postings.lock_wallets_by_uuid(wallets))
    return transfer_many(requests, caller=caller)


def _run(work: Callable[[], T], *, one_statement: bool = False) -> T:
    return run_in_transaction(
        work, patience=CLIENT_PATIENCE_SECONDS, one_statement=one_statement
    )


def transfer_at_once(
    requests: Mapping[int, TransferRequest],
    now: datetime | None = None,
    *,
    whole: bool,
    caller: Caller = ANYBODY,
    skip_locked: bool = False,
    lock_wait: float | None = None,
) -> dict[int, TransferReceipt]:
    """Make all transfers that succeed in any order, in one statement.

    Returns results by number. For PostgreSQL. Call in a transaction of its own
    (`run_in_transaction(…, one_statement=True)`). With `whole` it makes all or none,
    except those whose keys exist: so the others are made in order. See
    `transfers_postgresql.transfer`.
    """
    # Among requests with the same key, the first one counts; the others are replays.
    first = {str(one.key): n for n, one in reversed([*requests.items()])}
    fit = {
        str(one.key): one
        for n, one in requests.items()
        if first[str(one.key)] == n and is_amount(one.amount) and one.words == NO_WORDS
    }
    if not fit or (whole and len(fit) < len(first)):
        return {}
    rows = transfers_postgresql.transfer(
        [
            (one.from_wallet, one.to_wallet, one.amount, one.key, uuid4(), uuid4())
            for one in fit.values()
        ],
        whole=whole,
        caller=caller,
        now=now,
        skip_locked=skip_locked,
        lock_wait=lock_wait,
    )
    made: dict[int, TransferReceipt] = {}
    for key, at, name, payer, payee, debit, credit, balance in rows:
        request = fit[key]
        ends = {"from_wallet_id": payer, "to_wallet_id": payee}
        halves = {"debit_id": debit, "credit_id": credit}
        row = as_stored(
            Transfer, uuid=name, amount=request.amount, created_at=at, **ends, **halves
        )
        made[first[key]] = TransferReceipt(request, row, balance)
    return made


class TransferGroup:
    """Makes the transfers of one group after the other, in this process."""

    def __init__(self) -> None:
        self._patience = Patience()

    def transfer(
        self, requests: Sequence[TransferRequest], *, caller: Caller = ANYBODY
    ) -> list[TransferResult]:
        """Make a caller's transfers; return one result each, in order, or `Busy`.

        A `Busy` request must be made again, alone. Opens its own transaction, or
        several for parts of the group (`in_halves`); locks the wallets by id. It waits
        at most `patience.LOCK_WAIT_SECONDS` for locked wallets.
        """
        answers = in_halves(partial(self._transfer, caller=caller), requests)
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Busy) and answer.wallets:
                answer.rest = partial(_after, answer.wallets, request, caller)
        return answers

    def _transfer(
        self, requests: Numbered, caller: Caller
    ) -> Mapping[int, TransferResult] | None:
        """Return None, and change nothing, if one of the keys is in use now."""
        if connection.vendor == "postgresql":
            return self._on_postgresql(requests, caller)
        unless_locked = partial(_unless_locked, caller=caller)
        made = unless_locked(requests)
        if made is None or connection.vendor != "mysql":
            return made
        busy = {n: requests[n] for n, one in made.items() if isinstance(one, Busy)}
        if busy and self._patience.is_left:
            made.update(self._patience.poll(unless_locked, busy))
        return made

    def _on_postgresql(
        self, requests: Numbered, caller: Caller
    ) -> Mapping[int, TransferResult] | None:
        waits = self._patience.is_left
        made = _at_once(requests, caller, skip_locked=False) if waits else None
        if made is None:
            if waits:
                self._patience.lose()
            made = _at_once(requests, caller, skip_locked=True)
        if made is None:
            return None
        # A conflict of one of these must not repeat the others, which are done.
        left = {n: one for n, one in requests.items() if n not in made}
        judged = in_halves(partial(_unless_locked, caller=caller), [*left.values()])
        return {**made, **dict(zip(left, judged, strict=True))}


def _after(
    wallets: Collection[uuid.UUID], request: TransferRequest, caller: Caller
) -> TransferResult:
    (result,) = transfer_after(wallets, [request], caller=caller)
    return result


def _at_once(
    requests: Numbered, caller: Caller, *, skip_locked: bool
) -> dict[int, TransferReceipt] | None:
    return run_unless_locked(
        partial(
            transfer_at_once,
            requests,
            whole=False,
            caller=caller,
            skip_locked=skip_locked,
            lock_wait=KEY_WAIT_SECONDS if skip_locked else patience.LOCK_WAIT_SECONDS,
        ),
        one_statement=True,
    )


def _unless_locked(
    requests: Numbered, now: datetime | None = None, *, caller: Caller
) -> Results | None:
    """Make the transfers in one transaction; return results by number.

    The result for a locked wallet is `Busy`. None, and no change: another transaction
    uses one of the keys at this moment.
    """

    def work() -> list[TransferResult]:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return transfer_in_steps([*requests.values()], now, False, caller)

    answers = run_unless_locked(work)
    return None if answers is None else dict(zip(requests, answers, strict=True))

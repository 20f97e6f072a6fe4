"""The deposits of one transaction, step by step: check each in turn, then write all.

`services.deposits.deposit` uses it for whatever the fast path of PostgreSQL does not do.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.requests import idempotency
from wallets.services.requests.batch import Batch, NotDone
from wallets.services.requests.completed import completed
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.batch import as_new, as_stored
from wallets.utils.database.transactions import database_now
from wallets.utils.words import NO_WORDS, Words

_DEPOSIT = Transaction.TransactionType.DEPOSIT


class DepositRequest:
    """One deposit; the amount is in minor units. UUIDs are kept as canonical text."""

    __slots__ = ("amount", "key_text", "wallet_text", "words")
    scheduled_for = None
    fails_if_frozen = False

    def __init__(
        self,
        wallet: uuid.UUID | str,
        amount: int,
        key: uuid.UUID | str,
        words: Words = NO_WORDS,
    ) -> None:
        self.wallet_text = str(wallet)
        self.amount = amount
        self.key_text = str(key)
        self.words = words

    @property
    def wallet_uuid(self) -> uuid.UUID:
        """The wallet that gets the money."""
        return uuid.UUID(self.wallet_text)

    @property
    def key(self) -> uuid.UUID:
        """The idempotency key."""
        return uuid.UUID(self.key_text)


class DepositReceipt(NamedTuple):
    """A deposit that was made, by this request or by an earlier one with its key.

    `balance_after` is the wallet's balance after the deposit, in minor units. A deposit
    never changes, so request, time, ids and the caller who made it say all that is
    stored of it.
    """

    request: DepositRequest
    made_at: datetime
    transaction_id: int
    wallet_id: int
    balance_after: int
    replayed: bool = False
    caller: Caller = ANYBODY

    @property
    def transaction(self) -> Transaction:
        """The deposit as it is stored. Its `wallet` is read when it is asked for."""
        columns = columns_of(self.request, self.made_at, self.caller)
        pk, wallet_id = self.transaction_id, self.wallet_id
        return as_stored(Transaction, id=pk, wallet_id=wallet_id, **columns)


# The receipt, or the reason why there is none.
DepositResult = DepositReceipt | NotDone


def columns_of(
    request: DepositRequest, now: datetime, caller: Caller
) -> dict[str, Any]:
    """Return the columns of a new deposit."""
    return completed(_DEPOSIT, request.amount, request.key, now, caller, request.words)


def deposit_in_steps(
    requests: Sequence[DepositRequest],
    now: datetime | None = None,
    wait: bool = True,
    caller: Caller = ANYBODY,
) -> list[DepositResult]:
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
    keys = [one.key for one in requests]
    made = idempotency.find_made(keys, tenant=caller.tenant, wait=wait)
    batch = _Deposits(
        wallets=wallets,
        held=postings.known_wallets(others) if others and not wait else set(),
        made=made,
        balances=_balances_after(made.values()),
        now=now or database_now(),
        caller=caller,
    )
    return batch.results(requests)


@dataclass(kw_only=True)
class _Deposits(Batch[DepositRequest, DepositReceipt]):
    """The deposits of one transaction; `balances` after each, by transaction id.

    A key that another transaction has taken meanwhile was used for another wallet or
    for a withdrawal, because deposits of this wallet wait for its lock. So a row of
    another request is never taken for one of these.
    """

    balances: dict[int, int]
    _added: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    transaction_type = _DEPOSIT

    def plan(self, request: DepositRequest) -> Transaction:
        wallet = self.wallet_of(request)
        postings.check_can_receive(wallet)
        added = self._added[wallet.pk] + request.amount
        postings.check_deposit(wallet, added)
        self._added[wallet.pk] = added
        columns = columns_of(request, self.now, self.caller)
        return as_new(Transaction, wallet_id=wallet.pk, **columns)

    def write(self, rows: Sequence[Transaction]) -> None:
        """Post the movements."""
        movements = postings.post(
            [Posting(Movement.Kind.DEPOSIT, deposit) for deposit in rows],
            {wallet.pk: wallet for wallet in self.wallets.values()},
            now=self.now,
        )
        self.balances |= {one.transaction_id: one.balance_after for one in movements}

    def receipt(
        self, request: DepositRequest, row: Transaction, *, replayed: bool
    ) -> DepositReceipt:
        balance = self.balances[row.pk]
        caller = Caller(row.actor, row.tenant)
        return DepositReceipt(
            request, row.created_at, row.pk, row.wallet_id, balance, replayed, caller
        )


def _balances_after(made: Iterable[Transaction]) -> dict[int, int]:
    """Return the balance after each deposit, by transaction id. No query for none."""
    ids = [row.pk for row in made if row.transaction_type == _DEPOSIT]
    movements = Movement.objects.filter(transaction__in=ids)
    return dict(movements.values_list("transaction_id", "balance_after"))

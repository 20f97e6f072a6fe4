"""The schedules of one transaction, step by step: check each in turn, then write all.

`services.withdrawals.schedule` uses it for whatever the fast path of PostgreSQL does not do.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db import transaction as db_transaction

from wallets.errors import IdempotencyKeyReused
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.payouts import dispatch, transition
from wallets.services.requests import idempotency
from wallets.services.requests.batch import Batch, NotDone
from wallets.services.requests.checks import checked_schedule
from wallets.services.withdrawals import currency, reference
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.batch import as_new
from wallets.utils.database.transactions import database_now
from wallets.utils.words import NO_WORDS, Words

_WITHDRAWAL = Transaction.TransactionType.WITHDRAWAL


class ScheduleRequest(NamedTuple):
    """A withdrawal to schedule; amount in minor units. `key` None: none was sent.

    `fails_if_frozen`: it fails if its wallet is frozen when it is due; else it waits.
    """

    wallet: uuid.UUID
    amount: int
    scheduled_for: datetime
    key: uuid.UUID | None = None
    fails_if_frozen: bool = False
    words: Words = NO_WORDS


class Asked(NamedTuple):
    """A request with its key: the client's, or a new one if the client sent none.

    Only with a client's key an operator may have recorded it.
    """

    wallet_uuid: uuid.UUID
    amount: int
    scheduled_for: datetime
    key: uuid.UUID
    may_be_recorded: bool
    fails_if_frozen: bool = False
    words: Words = NO_WORDS

    @property
    def more(self) -> tuple[bool, Words]:
        """What few requests say."""
        return self.fails_if_frozen, self.words


class ScheduleReceipt(NamedTuple):
    """A withdrawal that was scheduled, by this request or by an earlier one.

    `transaction` is the row as it is stored. If it is `replayed`, an earlier request
    with the same key made it, and it may have been paid or cancelled meanwhile.
    """

    transaction: Transaction
    replayed: bool = False


# The receipt, or the reason why there is none.
ScheduleResult = ScheduleReceipt | NotDone


def columns_of(
    asked: Asked, now: datetime, caller: Caller, *, from_tenants_wallet: bool
) -> dict[str, Any]:
    """Return the columns of a new withdrawal; the wallet is left to the caller."""
    return {
        "transaction_type": _WITHDRAWAL,
        "amount": asked.amount,
        "status": Transaction.Status.PENDING,
        "scheduled_for": asked.scheduled_for,
        "created_at": now,
        "updated_at": now,
        "idempotency_key": asked.key,
        "fails_if_frozen": asked.fails_if_frozen,
        "tenant": caller.tenant,
        "actor": caller.actor,
        "from_tenants_wallet": from_tenants_wallet,
        **asked.words._asdict(),
    }


def schedule_in_steps(
    asked: Sequence[Asked],
    *,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    wait: bool = True,
) -> list[ScheduleResult]:
    """Schedule the withdrawals; return one result for each request, in order.

    Call inside a transaction. Locks what new rows of the wallets must, then takes the
    keys in the order of their index. With `wait=False` the result for a locked wallet
    is `Busy`, and a key that another transaction uses at this moment raises a lock
    time-out.
    """
    uuids = {one.wallet_uuid for one in asked}
    wallets = postings.wallets_for_new_rows(uuids, wait=wait)
    others = uuids - wallets.keys()
    locks = connection.vendor != "sqlite"
    keys = [one.key for one in asked]
    made = idempotency.find_made(keys, tenant=caller.tenant, wait=wait)
    batch = _Schedules(
        wallets=wallets,
        held=postings.known_wallets(others) if others and locks and not wait else set(),
        made=made,
        recorded=reference.find_recorded(
            [(one.wallet_uuid, one.key) for one in asked if one.may_be_recorded]
        ),
        used=_used_by_others(keys, wallets.values(), caller),
        now=now or database_now(),
        caller=caller,
    )
    return batch.results(asked)


def hand_over(planned: Sequence[Transaction], *, now: datetime) -> None:
    """Wake a worker after the commit, for the withdrawal that is due first."""
    times = [one.scheduled_for for one in planned if one.scheduled_for is not None]
    if times:
        first = min(times)
        db_transaction.on_commit(
            lambda: dispatch.hand_over(first, now=now), robust=True
        )


def _used_by_others(
    keys: Sequence[uuid.UUID], wallets: Iterable[Wallet], caller: Caller
) -> set[reference.Request]:
    """Return by wallet and key what callers with another tenant have used.

    No query unless one of the wallets has a tenant: the others have one kind of caller.
    """
    shared = [wallet.pk for wallet in wallets if wallet.tenant]
    if not shared:
        return set()
    rows = Transaction.objects.filter(idempotency_key__in=keys, wallet__in=shared)
    others = rows.exclude(tenant=caller.tenant)
    return set(others.values_list("wallet__uuid", "idempotency_key"))


@dataclass(kw_only=True)
class _Schedules(Batch[Asked, ScheduleReceipt]):
    """The schedules of one transaction; `recorded` by wallet and key.

    `used` are the wallets and keys of transactions of callers with another tenant. In
    the same wallet the bank references of both would be the same. One that is written
    meanwhile on PostgreSQL takes the key: the work is run again, and reads it.

    On MySQL and MariaDB a key that another transaction has taken meanwhile was used for
    another wallet or for a deposit, because withdrawals of this wallet wait for its
    lock. So a row of another request is never taken for one of these.
    """

    recorded: dict[reference.Request, Transaction]
    used: set[reference.Request]

    transaction_type = _WITHDRAWAL

    def plan(self, request: Asked) -> Transaction:
        if (request.wallet_uuid, request.key) in self.recorded:
            # It is paid; an operator recorded the payment without its key.
            return self.recorded[request.wallet_uuid, request.key]
        if (request.wallet_uuid, request.key) in self.used:
            raise IdempotencyKeyReused(
                "This idempotency key was used for another request before."
            )
        checked_schedule(request.scheduled_for, now=self.now)
        wallet = self.wallet_of(request)
        postings.check_can_pay(wallet)
        currency.check_payable(wallet)
        columns = columns_of(
            request, self.now, self.caller, from_tenants_wallet=bool(wallet.tenant)
        )
        return as_new(Transaction, wallet_id=wallet.pk, **columns)

    def write(self, rows: Sequence[Transaction]) -> None:
        """Write the first transitions, and wake a worker."""
        transition.record_scheduled(rows, actor=self.caller.actor, now=self.now)
        hand_over(rows, now=self.now)

    def receipt(
        self, request: Asked, row: Transaction, *, replayed: bool
    ) -> ScheduleReceipt:
        return ScheduleReceipt(row, replayed)

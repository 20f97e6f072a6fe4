"""The schedules of one transaction, step by step: check each in turn, then write all.

`services.withdrawals.schedule` uses it for whatever the fast path of PostgreSQL does not do.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db import transaction as db_transaction

from wallets.errors import IdempotencyKeyReused, Refusal
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.payouts import dispatch, transition
from wallets.services.requests import idempotency
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import checked_amount, checked_schedule
from wallets.services.withdrawals import reference
from wallets.utils.database.batch import as_new
from wallets.utils.database.transactions import database_now

_WITHDRAWAL = Transaction.TransactionType.WITHDRAWAL


class ScheduleRequest(NamedTuple):
    """A withdrawal to schedule; amount in minor units. `key` None: none was sent."""

    wallet: uuid.UUID
    amount: int
    scheduled_for: datetime
    key: uuid.UUID | None = None


class Asked(NamedTuple):
    """A request with its key: the client's, or a new one if the client sent none."""

    request: ScheduleRequest
    key: uuid.UUID

    @property
    def may_be_recorded(self) -> bool:
        """Whether an operator may have recorded it: only with a client's key."""
        return self.request.key is not None


# The withdrawal with its wallet, or the reason why there is none.
Answer = Transaction | Refusal | Wallet.DoesNotExist | Busy


def columns_of(asked: Asked, now: datetime) -> dict[str, Any]:
    """Return the columns of a new withdrawal."""
    return {
        "transaction_type": _WITHDRAWAL,
        "amount": asked.request.amount,
        "status": Transaction.Status.PENDING,
        "scheduled_for": asked.request.scheduled_for,
        "created_at": now,
        "updated_at": now,
        "idempotency_key": asked.key,
    }


def schedule_in_steps(
    asked: Sequence[Asked],
    *,
    actor: str,
    now: datetime | None = None,
    wait: bool = True,
) -> list[Answer]:
    """Schedule the withdrawals; return one result for each request, in order.

    Call inside a transaction. Locks what new rows of the wallets must, then takes the
    keys in the order of their index. With `wait=False` the result for a locked wallet
    is `Busy`, and a key that another transaction uses at this moment raises a lock
    time-out.
    """
    uuids = {one.request.wallet for one in asked}
    wallets = postings.wallets_for_new_rows(uuids, wait=wait)
    others = uuids - wallets.keys()
    locks = connection.vendor == "mysql"
    made = idempotency.find_made([one.key for one in asked], wait=wait)
    batch = _Batch(
        wallets,
        held=postings.known_wallets(others) if others and locks and not wait else set(),
        made=made,
        recorded=reference.find_recorded(
            [(one.request.wallet, one.key) for one in asked if one.may_be_recorded]
        ),
        now=now or database_now(),
    )
    answers = [batch.judge(one) for one in asked]

    # After this point the withdrawals must be planned.
    batch.write(actor)
    return [
        batch.answer(one, planned) for one, planned in zip(asked, answers, strict=True)
    ]


def hand_over(planned: Sequence[Transaction], *, now: datetime) -> None:
    """Wake a worker after the commit, for the withdrawal that is due first."""
    times = [one.scheduled_for for one in planned if one.scheduled_for is not None]
    if times:
        first = min(times)
        db_transaction.on_commit(
            lambda: dispatch.hand_over(first, now=now), robust=True
        )


class _Batch:
    """The schedules of one transaction: checked one after the other, then written."""

    def __init__(
        self,
        wallets: dict[uuid.UUID, Wallet],
        *,
        held: set[uuid.UUID],
        made: dict[uuid.UUID, Transaction],
        recorded: dict[tuple[uuid.UUID, uuid.UUID], Transaction],
        now: datetime,
    ) -> None:
        self._wallets = wallets
        self._held = held
        self._made = made
        self._recorded = recorded
        self._now = now
        self._put_off: set[uuid.UUID] = set()
        self._new: dict[uuid.UUID, Transaction] = {}

    def judge(self, asked: Asked) -> Answer | None:
        """Accept, replay or refuse the request. None: a repeated key of this batch."""
        request, key = asked
        try:
            checked_amount(request.amount)
            if key in self._made:
                return _replay(self._made[key], request)
            # The first request with a key counts, even when it is `Busy`.
            if key in self._put_off:
                return Busy()
            if key in self._new:
                return None
            if (request.wallet, key) in self._recorded:
                # It is paid; an operator recorded the payment without its key.
                return _replay(self._recorded[request.wallet, key], request)
            checked_schedule(request.scheduled_for, now=self._now)
        except Refusal as refusal:
            return refusal
        if request.wallet in self._held:
            self._put_off.add(key)
            return Busy()
        wallet = self._wallets.get(request.wallet)
        if wallet is None:
            return Wallet.DoesNotExist(f"no wallet {request.wallet}")
        withdrawal = as_new(
            Transaction, wallet_id=wallet.pk, **columns_of(asked, self._now)
        )
        withdrawal.wallet = wallet
        self._new[key] = withdrawal
        return withdrawal

    def write(self, actor: str) -> None:
        """Insert the accepted withdrawals, and set their ids.

        A key that another transaction has taken meanwhile inserts nothing here. On
        MySQL and MariaDB it was used for another wallet or for a deposit, because
        withdrawals of this wallet wait for its lock. So a row of another request is
        never taken for one of these.
        """
        planned = list(self._new.values())
        self._made |= idempotency.insert_new(planned)
        written = [one for one in planned if one.pk is not None]
        transition.record_scheduled(written, actor=actor, now=self._now)
        hand_over(written, now=self._now)

    def answer(self, asked: Asked, planned: Answer | None) -> Answer:
        """Return the result of a request: as accepted, or the replay of its key.

        The key was used earlier in this batch, or by another transaction meanwhile.
        """
        lost = isinstance(planned, Transaction) and planned.pk is None
        if planned is not None and not lost:
            return planned
        made = self._made.get(asked.key) or self._new[asked.key]
        try:
            return _replay(copy.copy(made), asked.request)
        except IdempotencyKeyReused as refusal:
            return refusal


def _replay(made: Transaction, request: ScheduleRequest) -> Transaction:
    return idempotency.replay(
        made,
        transaction_type=_WITHDRAWAL,
        wallet_uuid=request.wallet,
        amount=request.amount,
        scheduled_for=request.scheduled_for,
    )

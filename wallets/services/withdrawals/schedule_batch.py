"""The withdrawals of one transaction, step by step: judged in turn, then written together.

What `services.withdrawals.schedule` does with whatever is not one statement of PostgreSQL's.
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
    """A withdrawal to plan: amount in minor units. `key` None: the client has sent none."""

    wallet: uuid.UUID
    amount: int
    scheduled_for: datetime
    key: uuid.UUID | None = None


class Asked(NamedTuple):
    """A request, and its key: the client's or, where it sent none, one of our own."""

    request: ScheduleRequest
    key: uuid.UUID

    @property
    def may_be_recorded(self) -> bool:
        """Whether an operator may have recorded it already: a key of ours is new."""
        return self.request.key is not None


# The withdrawal, with its wallet; or why there is none.
Answer = Transaction | Refusal | Wallet.DoesNotExist | Busy


def columns_of(asked: Asked, now: datetime) -> dict[str, Any]:
    """A withdrawal's own columns when it is planned."""
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
    """Plan the withdrawals that can be planned; answer each, in order.

    Call inside a transaction. Locks what new rows of the wallets must, then takes the keys
    in the order of their index. Unless it may `wait`, the answer for a wallet that is
    locked is `Busy`, and a key that somebody is just using is a lock time-out.
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
    """Wake a worker once this is committed, for the withdrawal that is due first."""
    times = [one.scheduled_for for one in planned if one.scheduled_for is not None]
    if times:
        first = min(times)
        db_transaction.on_commit(
            lambda: dispatch.hand_over(first, now=now), robust=True
        )


class _Batch:
    """The withdrawals of one transaction: judged one after the other, then written."""

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
        """Plan the withdrawal, replay it, or refuse it. None: it repeats one of this batch."""
        request, key = asked
        try:
            checked_amount(request.amount)
            if key in self._made:
                return _replay(self._made[key], request)
            # The first request with a key counts, also when it has to wait.
            if key in self._put_off:
                return Busy()
            if key in self._new:
                return None
            if (request.wallet, key) in self._recorded:
                # It was paid already, and an operator who did not know the key has
                # recorded it.
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
        """Write the planned withdrawals; each learns its id.

        A key that somebody else took since it was looked for makes nothing here. On MySQL
        and MariaDB it was for another wallet, or it made a deposit: this wallet's
        withdrawals wait for its lock. So another's row is never taken for one of these.
        """
        planned = list(self._new.values())
        self._made |= idempotency.insert_new(planned)
        written = [one for one in planned if one.pk is not None]
        transition.record_scheduled(written, actor=actor, now=self._now)
        hand_over(written, now=self._now)

    def answer(self, asked: Asked, planned: Answer | None) -> Answer:
        """What came of a request: as planned, or what its key has made otherwise.

        Earlier in this batch, or for somebody else meanwhile.
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

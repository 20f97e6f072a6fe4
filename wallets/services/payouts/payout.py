"""Paying out: claim, call, record. This order keeps money safe.

`claim` commits attempt, hold and lease before the first byte is sent. The call happens
outside of transactions. `record` writes what the answer proves. A crash between two
steps leaves an open attempt whose lease ends; `services.payouts.resolver` then finds its
outcome.
"""

from __future__ import annotations

import math
import os
import platform
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet

from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.states import Event, rule_for
from wallets.models.transaction import Transaction
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.operations import pause
from wallets.services.payouts import (
    attempt,
    claimable,
    due,
    moment,
    outcome,
    sent_to,
    transition,
    waiting,
)
from wallets.services.payouts.attempt import Claimed
from wallets.services.payouts.moment import Moment
from wallets.services.payouts.outcome import Conclusion
from wallets.services.withdrawals.currency import is_payable
from wallets.services.withdrawals.reference import next_number
from wallets.utils import clock
from wallets.utils.actors import WORKER
from wallets.utils.bank.interface import Abilities, Answer, Payment
from wallets.utils.database import outage
from wallets.utils.database.transactions import (
    database_now,
    lock_rows,
    read_by_index,
    run_in_transaction,
)


@dataclass(frozen=True)
class Sending:
    """The right of this process to send an attempt once, before `send_before`.

    Both times are values of `clock.elapsed` in seconds. `leased_at` was read just
    before the database's clock, from which the attempt's lease is counted.
    """

    attempt: Attempt
    payment: Payment
    send_number: int
    send_before: float
    leased_at: float

    @property
    def lease_ends(self) -> float:
        """When the lease in the database ends, or a bit earlier (`clock.elapsed`)."""
        return self.leased_at + settings.WITHDRAWAL_LEASE


# An attempt that was sent, with the bank's answer.
Result = tuple[Sending, Answer]


@dataclass
class Claim:
    """The result of a claim: attempts to send, and withdrawals without enough balance.

    `paused`: nothing was claimed because payouts are paused. `busy`: wallets of due
    withdrawals that were skipped because another transaction locks them. `waiting`: how
    many wait for their frozen wallets from now on.
    """

    sendings: list[Sending] = field(default_factory=list)
    refused: list[Transaction] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    paused: bool = False
    waiting: int = 0

    def __len__(self) -> int:
        return len(self.sendings) + len(self.refused) + self.waiting

    def add(self, other: Claim) -> None:
        """Count the other claim with this one."""
        self.sendings += other.sendings
        self.refused += other.refused
        self.busy |= other.busy
        self.paused |= other.paused
        self.waiting += other.waiting


def actor_name() -> str:
    """Return the name of this process for transition rows."""
    return f"{WORKER} {platform.node()}:{os.getpid()}"


def claim(
    candidates: QuerySet[Transaction],
    *,
    bank: Abilities,
    limit: int,
    now: datetime | None = None,
    wait: bool = True,
    patience: float = math.inf,
) -> Claim:
    """Claim due withdrawals: attempt, lease and hold are committed on return.

    Call outside a transaction, with `candidates` that are due. Attempts begin when the
    locks are taken, by the database's clock, or at `now`. Others fail for good or wait,
    without a call to the bank: see `services.payouts.due`. Each is claimed once.
    Nothing is claimed while payouts are paused. `wait=False` skips locked wallets; a
    lock time-out later than `patience` (seconds) is raised. A database that goes away
    during COMMIT is waited for until the lease ends: nothing unsent becomes unknown.
    """
    ours, leased_at, written = attempt.Claimed(sent_to.mark(bank)), 0.0, False

    def read_clocks() -> Moment:
        nonlocal leased_at
        # Read first: the right to send must end before the lease in the database.
        leased_at = clock.elapsed()
        return moment.read(now)

    def committed() -> Claim:
        return Claim([sending(one, leased_at) for one in _with_token(ours.token)])

    def work() -> Claim:
        nonlocal written
        if written and (mine := committed()):
            return mine
        # Read in the claim's own transaction, so that a committed pause is seen.
        if pause.is_paused():
            return Claim(paused=True)
        attempts, taken = _claim(candidates, limit, wait, ours, read_clocks)
        written = written or bool(attempts)
        taken.sendings = [sending(one, leased_at) for one in attempts]
        return taken

    try:
        return run_in_transaction(work, patience=patience)
    except (DatabaseError, InterfaceError) as error:
        if not written or not outage.is_away(error):
            raise
        ends = leased_at + settings.WITHDRAWAL_LEASE
        if mine := outage.outlast(lambda: run_in_transaction(committed), ends=ends):
            return mine
        raise


def _with_token(token: uuid.UUID) -> QuerySet[Attempt]:
    """Return the attempts of this claim, also if the reply to its COMMIT was lost."""
    ours = Attempt.objects.filter(claim_token=token)
    return ours.select_related("transaction__wallet")


def _claim(
    candidates: QuerySet[Transaction],
    limit: int,
    wait: bool,
    ours: Claimed,
    read_clocks: Callable[[], Moment],
) -> tuple[list[Attempt], Claim]:
    """Return the attempts to send, and the claim without them."""
    with read_by_index():
        rows = lock_rows(candidates[:limit], skip_locked=True)
    if not rows:
        return [], Claim()
    said_paid = claimable.said_paid(rows)
    rows = [row for row in rows if row.pk not in said_paid]
    found = Claim()
    wallets = postings.lock_wallets((row.wallet_id for row in rows), wait=wait)
    taken = read_clocks()
    now = taken.now
    available = {pk: wallet.balance for pk, wallet in wallets.items()}
    moves, entries, attempts, waits = [], [], [], []
    for row in rows:
        if not wait and row.wallet_id not in wallets:
            found.busy.add(row.wallet_id)
            continue
        wallet = row.wallet = wallets[row.wallet_id]
        if due.must_wait(row, wallet):
            waits.append(row)
            continue
        failed = due.failure(row, wallet, available[wallet.pk])
        if failed is not None:
            moves.append(failed)
            found.refused.append(row)
            continue
        if not is_payable(wallet):
            continue
        available[wallet.pk] -= row.amount
        number = next_number(row)
        moves.append(due.claimed(row, number))
        entries.append(Posting(Movement.Kind.HOLD, row, number))
        attempts.append(attempt.begun(row, wallet, ours, number, taken))

    # After this point the claim must be written.
    transition.apply(moves, actor=actor_name(), now=now)
    postings.post(entries, wallets, now=now)
    attempt.insert(attempts)
    waiting.begin(waits)
    found.waiting = len(waits)
    return attempts, found


def sending(attempt: Attempt, leased_at: float) -> Sending:
    """Return the right to send an attempt whose lease began at `leased_at` or later."""
    withdrawal = attempt.transaction
    return Sending(
        attempt=attempt,
        payment=Payment(attempt.reference, withdrawal.wallet.uuid, withdrawal.amount),
        send_number=attempt.sends,
        leased_at=leased_at,
        # The whole call must end before the lease.
        send_before=leased_at
        + settings.WITHDRAWAL_LEASE
        - 2 * settings.THIRD_PARTY_DEADLINE,
    )


def record(
    results: Sequence[Result],
    *,
    now: datetime | None = None,
    wait: bool = True,
    patience: float = math.inf,
) -> list[Result]:
    """Write what the bank's answers prove. Opens its own transaction.

    A late answer changes nothing. If it says that released money was paid, it raises an
    alarm. With `wait=False` the answers about locked rows are not recorded but
    returned. A lock time-out later than `patience` (seconds) is raised.
    """
    if not results:
        return []
    return run_in_transaction(
        lambda: _record(results, now or database_now(), wait), patience=patience
    )


def _record(results: Sequence[Result], now: datetime, wait: bool) -> list[Result]:
    locked = outcome.lock((sent.attempt for sent, _ in results), wait=wait)
    conclusions, busy = [], []
    for sent, answer in results:
        if not wait and sent.attempt.transaction_id not in locked.transactions:
            busy.append((sent, answer))
            continue
        attempt = locked.attempts[(sent.attempt.transaction_id, sent.attempt.number)]
        withdrawal = locked.transactions[attempt.transaction_id]
        if attempt.open is None:
            outcome.check_late_answer(withdrawal, attempt, answer)
            continue
        event = outcome.event_of(answer, attempt)
        if event is Event.UNKNOWN and sent.send_number != attempt.sends:
            continue  # a later sender decides the outcome
        if rule_for(withdrawal.state, event) is not None:
            conclusions.append(
                Conclusion(
                    withdrawal,
                    attempt,
                    event,
                    answer.reason,
                    answer.http_status,
                    executed_at=_executed_at(sent, answer, attempt),
                )
            )
    outcome.conclude(conclusions, locked.wallets, actor=actor_name(), now=now)
    return busy


def _executed_at(sent: Sending, answer: Answer, attempt: Attempt) -> datetime:
    """Return when the payment was sent, by the database's clock.

    If the reference was sent several times, it is unknown which request the bank paid:
    the time of the first one counts, as when a look-up finds the payment.
    """
    if answer.sent_at is None or sent.send_number > 1:
        return attempt.started_at
    return attempt.started_at + timedelta(seconds=answer.sent_at - sent.leased_at)

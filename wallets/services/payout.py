"""Paying out: claim, call, record. The order is the safety.

Claim commits attempt, hold and lease before the first byte leaves; the call happens in no
transaction; record writes what the answer proves. A crash between any two leaves an open
attempt whose lease ends, and `services.resolver` finds out.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.states import Event, State, rule_for
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services import ledger, outcome, pause, transition
from wallets.services.alarm import raise_alarm
from wallets.services.ledger import Entry
from wallets.services.outcome import Conclusion
from wallets.services.transition import Move
from wallets.utils import clock
from wallets.utils.bank import Answer, Outcome, Payment
from wallets.utils.bank_words import INSUFFICIENT_BALANCE
from wallets.utils.batch import as_new, insert_rows
from wallets.utils.db import database_now, lock_rows, read_by_index, run_in_transaction


@dataclass(frozen=True)
class Sending:
    """An attempt that this process may send now, once, until `send_before`."""

    attempt: Attempt
    payment: Payment
    send_number: int
    send_before: float


@dataclass
class Claim:
    """What a claim took: attempts to send, and withdrawals that had not the money.

    `paused` says that it took nothing because payouts are paused.
    """

    sendings: list[Sending] = field(default_factory=list)
    refused: list[Transaction] = field(default_factory=list)
    paused: bool = False

    def __len__(self) -> int:
        return len(self.sendings) + len(self.refused)


def actor_name() -> str:
    """Who acts, for the transition rows: this process."""
    return f"worker {socket.gethostname()}:{os.getpid()}"


def reference_of(
    withdrawal: Transaction, wallet_uuid: uuid.UUID, number: int
) -> uuid.UUID:
    """The bank reference of an attempt: the same whenever and wherever it is derived.

    It follows from what the client holds, its key: after a restored backup the same request
    gets the same reference again, so a bank that dedupes pays it once.
    """
    key = withdrawal.idempotency_key
    return uuid.uuid5(wallet_uuid, f"withdrawal {key} {number}")


def claim(
    candidates: QuerySet[Transaction], *, limit: int, now: datetime | None = None
) -> Claim:
    """Take due withdrawals for sending: attempt, lease and hold are committed on return.

    Opens its own transaction. `candidates` must select only what is due at `now` (the
    database's clock unless given). Those without the money fail, finally, without the
    bank. Each belongs to one claimer: others skip it or lose the guarded UPDATE.
    While payouts are paused, nothing is taken.
    """
    token = uuid.uuid4()
    started = clock.elapsed()
    first_run = True

    def work() -> Claim:
        nonlocal first_run
        if not first_run:
            # The reply to our COMMIT may have been lost: what bears our token is ours.
            ours = Attempt.objects.filter(claim_token=token)
            mine = list(ours.select_related("transaction__wallet"))
            if mine:
                return Claim([sending(attempt, started) for attempt in mine])
        first_run = False
        # Asked in the claim's own transaction: a pause committed before it is seen.
        if pause.is_paused():
            return Claim(paused=True)
        return _claim(candidates, limit, token, now or database_now(), started)

    return run_in_transaction(work)


def _claim(
    candidates: QuerySet[Transaction],
    limit: int,
    token: uuid.UUID,
    now: datetime,
    started: float,
) -> Claim:
    with read_by_index():
        rows = lock_rows(candidates[:limit], skip_locked=True)
    if not rows:
        return Claim()
    wallets = ledger.lock_wallets(row.wallet_id for row in rows)
    available = {pk: wallet.balance for pk, wallet in wallets.items()}
    result, moves, entries, attempts = Claim(), [], [], []
    for row in rows:
        if available[row.wallet_id] < row.amount:
            moves.append(_insufficient(row))
            result.refused.append(row)
            continue
        available[row.wallet_id] -= row.amount
        number = _next_number(row)
        moves.append(_claimed(row, number))
        entries.append(Entry(Movement.Kind.HOLD, row, number))
        attempts.append(_attempt(row, wallets[row.wallet_id], number, token, now))

    # After this point the claim must be written.
    transition.apply(moves, actor=actor_name(), now=now)
    ledger.post(entries, wallets, now=now)
    insert_rows(Attempt, attempts)
    for attempt in attempts:
        attempt.transaction.wallet = wallets[attempt.transaction.wallet_id]
        result.sendings.append(sending(attempt, started))
    return result


def _next_number(row: Transaction) -> int:
    return row.retry_count + (2 if row.state is State.FAILED_RETRYABLE else 1)


def _insufficient(row: Transaction) -> Move:
    return Move(
        row,
        Event.INSUFFICIENT,
        evidence=INSUFFICIENT_BALANCE,
        changes={
            "failure_code": Transaction.FailureCode.INSUFFICIENT_BALANCE,
            "third_party_response": INSUFFICIENT_BALANCE,
            "next_attempt_at": None,
        },
    )


def _claimed(row: Transaction, number: int) -> Move:
    changes = {
        "retry_count": number - 1,
        "next_attempt_at": None,
        "failure_code": "",
        # The bank's word on an earlier attempt is none on this one.
        "third_party_response": "",
    }
    return Move(row, Event.CLAIM, attempt_number=number, changes=changes)


def _attempt(
    row: Transaction, wallet: Wallet, number: int, token: uuid.UUID, now: datetime
) -> Attempt:
    lease_expires_at = now + timedelta(seconds=settings.WITHDRAWAL_LEASE)
    attempt = as_new(
        Attempt,
        transaction_id=row.pk,
        number=number,
        created_at=now,
        reference=reference_of(row, wallet.uuid, number),
        claim_token=token,
        started_at=now,
        last_sent_at=now,
        lease_expires_at=lease_expires_at,
        next_check_at=lease_expires_at,
    )
    attempt.transaction = row
    return attempt


def sending(attempt: Attempt, started: float) -> Sending:
    """The right to send an attempt, from a lease that began at `started` at the latest."""
    withdrawal = attempt.transaction
    return Sending(
        attempt=attempt,
        payment=Payment(attempt.reference, withdrawal.wallet.uuid, withdrawal.amount),
        send_number=attempt.sends,
        # The whole call must be over before the lease is.
        send_before=started
        + settings.WITHDRAWAL_LEASE
        - 2 * settings.THIRD_PARTY_DEADLINE,
    )


def record(
    results: Sequence[tuple[Sending, Answer]], *, now: datetime | None = None
) -> None:
    """Write what the bank's answers prove. Opens its own transaction.

    An answer that comes too late to change anything does not; if it says that money was
    paid which has been released, it raises an alarm.
    """
    if results:
        run_in_transaction(lambda: _record(results, now or database_now()))


def _record(results: Iterable[tuple[Sending, Answer]], now: datetime) -> None:
    results = list(results)
    locked = outcome.lock(sent.attempt for sent, _ in results)
    conclusions = []
    for sent, answer in results:
        attempt = locked.attempts[(sent.attempt.transaction_id, sent.attempt.number)]
        withdrawal = locked.transactions[attempt.transaction_id]
        if attempt.open is None:
            check_late_answer(withdrawal, attempt, answer)
            continue
        event = event_of(answer, attempt)
        if event is Event.UNKNOWN and sent.send_number != attempt.sends:
            continue  # the outcome is in another sender's hands by now
        if rule_for(withdrawal.state, event) is not None:
            conclusions.append(
                Conclusion(
                    withdrawal, attempt, event, answer.reason, answer.http_status
                )
            )
    outcome.conclude(conclusions, locked.wallets, actor=actor_name(), now=now)


def event_of(answer: Answer, attempt: Attempt) -> Event:
    """What a sender's answer means for the attempt.

    "Refused" and "not sent" are proof only for the only sender: what another one sent
    under the same reference may still be paid, or may be why this one was refused.
    """
    if answer.outcome is Outcome.ACCEPTED:
        return Event.ACCEPTED
    if attempt.sends == 1 and answer.outcome is Outcome.REJECTED:
        return Event.REJECTED
    if attempt.sends == 1 and answer.outcome is Outcome.NOT_SENT:
        return Event.NOT_SENT
    return Event.UNKNOWN


def check_late_answer(
    withdrawal: Transaction, attempt: Attempt, answer: Answer
) -> None:
    """Raise an alarm when an answer contradicts how the attempt has ended."""
    paid = attempt.outcome == Attempt.Outcome.ACCEPTED
    if answer.outcome is Outcome.ACCEPTED and not paid:
        kind = Alarm.Kind.PAID_AFTER_RELEASE
    elif answer.outcome is Outcome.REJECTED and paid:
        kind = Alarm.Kind.CONTRADICTION
    else:
        return
    raise_alarm(kind, withdrawal, attempt_number=attempt.number, detail=answer.reason)

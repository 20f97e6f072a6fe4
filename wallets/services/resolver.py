"""Finds out what became of attempts that nobody knows the outcome of.

Unknown is not failed: held money goes back only when the bank said "refused", or said "not
found" twice when that can be believed, or an operator knows.

Note [Quiet period]: a look-up made at once says "not found" of a payment that is booked a
moment later; releasing on it pays and refunds. "Not found" is believed only when
everything that could still make the payment appear is over, counted from the last send:
the sender's lease (it sends nothing after it), the longest call, the bank's booking time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.conf import settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import Event, State, rule_for
from wallets.models.transaction import Transaction
from wallets.services import outcome, pause, payout, transition
from wallets.services.alarm import raise_alarm
from wallets.services.backoff import check_delay
from wallets.services.outcome import Conclusion, Locked
from wallets.services.transition import Move
from wallets.utils import clock
from wallets.utils.bank import Abilities, Answer, Bank, Outcome, Payment
from wallets.utils.db import (
    all_or_each,
    database_now,
    guarded_update,
    run_in_transaction,
)

LEASE_EXPIRED = "the lease ended without an answer"


class Step(Enum):
    """What to do about an attempt of unknown outcome."""

    WAIT = "wait"
    LOOK_UP = "look_up"
    RESEND = "resend"
    REVIEW = "review"


@dataclass(frozen=True)
class Check:
    """One attempt that this process looks into, from `taken_at` on."""

    step: Step
    attempt: Attempt
    payment: Payment
    taken_at: datetime


def next_step(abilities: Abilities, attempt: Attempt, now: datetime) -> Step:
    """Choose the means that the bank has: look-up, else the same reference, else people."""
    if abilities.looks_up:
        return Step.LOOK_UP
    remembers_until = attempt.started_at + timedelta(seconds=abilities.dedupe_window)
    # A bank that forgets while our request is on its way would pay again.
    margin = timedelta(seconds=settings.WITHDRAWAL_LEASE)
    if abilities.dedupes and now + margin < remembers_until:
        return Step.WAIT if pause.is_paused() else Step.RESEND
    return Step.REVIEW


def believable_at(attempt: Attempt, abilities: Abilities) -> datetime:
    """From when on "not found" proves that the attempt was not paid."""
    longest = settings.WITHDRAWAL_LEASE + settings.THIRD_PARTY_DEADLINE
    quiet = max(settings.WITHDRAWAL_QUIET_PERIOD, longest + abilities.booking_time)
    return attempt.last_sent_at + timedelta(seconds=quiet)


def resolve_due(*, bank: Bank, limit: int, now: datetime | None = None) -> int:
    """Look into attempts whose check is due, one round; return how many.

    Opens its own transactions, before and after the calls; the bank is called in none.
    """
    started = clock.elapsed()
    checks = run_in_transaction(
        lambda: _take(bank.abilities, limit, now or database_now())
    )
    look_ups = [check for check in checks if check.step is Step.LOOK_UP]
    sendings = [
        payout.sending(check.attempt, started)
        for check in checks
        if check.step is Step.RESEND
    ]
    if look_ups or sendings:
        with ThreadPoolExecutor(settings.WITHDRAWAL_CONCURRENCY) as pool:
            found = pool.map(lambda check: bank.look_up(check.payment), look_ups)
            sent = pool.map(
                lambda s: bank.pay(s.payment, send_before=s.send_before), sendings
            )
            answers = list(zip(look_ups, found, strict=True))
            results = list(zip(sendings, sent, strict=True))
        all_or_each(lambda some: payout.record(some, now=now), results)
        all_or_each(lambda some: _record_all(some, bank.abilities, now), answers)
    return len(checks)


def _take(abilities: Abilities, limit: int, now: datetime) -> list[Check]:
    """Choose and mark the attempts to look into, so that no other sweep does so too."""
    due = Attempt.objects.filter(open=True, next_check_at__lte=now)
    candidates = due.select_related("transaction").order_by("next_check_at")[:limit]
    locked = outcome.lock(candidates)
    attempts = [
        attempt
        for attempt in locked.attempts.values()
        if attempt.open and attempt.next_check_at and attempt.next_check_at <= now
    ]
    _mark_expired(attempts, locked, now)
    checks = []
    for attempt in attempts:
        withdrawal = locked.transactions[attempt.transaction_id]
        withdrawal.wallet = locked.wallets[withdrawal.wallet_id]
        attempt.transaction = withdrawal
        step = next_step(abilities, attempt, now)
        if step is Step.RESEND and withdrawal.state is not State.UNKNOWN:
            step = Step.REVIEW  # nothing is sent behind an operator's back
        if step is Step.RESEND and _sent_long_enough(attempt, now):
            step = Step.REVIEW
        _prepare(step, attempt, withdrawal, now)
        payment = Payment(attempt.reference, withdrawal.wallet.uuid, withdrawal.amount)
        checks.append(Check(step, attempt, payment, taken_at=now))
    return checks


def _mark_expired(attempts: list[Attempt], locked: Locked, now: datetime) -> None:
    """The sender is gone without a word: from now on the outcome is unknown."""
    silent = [
        Move(
            withdrawal,
            Event.UNKNOWN,
            evidence=LEASE_EXPIRED,
            attempt_number=attempt.number,
        )
        for attempt in attempts
        for withdrawal in [locked.transactions[attempt.transaction_id]]
        if withdrawal.state is State.SENDING
    ]
    transition.apply(silent, actor=payout.actor_name(), now=now)


def _prepare(
    step: Step, attempt: Attempt, withdrawal: Transaction, now: datetime
) -> None:
    """Commit what is about to be done: the next look, the new lease, or the alarm."""
    lease_end = now + timedelta(seconds=settings.WITHDRAWAL_LEASE)
    changes: dict[str, Any] = {
        "outcome": Attempt.Outcome.UNKNOWN,
        "checks": attempt.checks + 1,
        "next_check_at": lease_end,
    }
    if step is Step.RESEND:
        _move(withdrawal, Event.RESEND, attempt, now, "same reference again")
        changes |= {
            "sends": attempt.sends + 1,
            "last_sent_at": now,
            "lease_expires_at": lease_end,
        }
    elif step is Step.REVIEW or _too_long_unknown(withdrawal, now):
        _ask_review(withdrawal, attempt, now)
        if step is not Step.LOOK_UP:
            changes["next_check_at"] = None
    guard = {"pk": attempt.pk, "open": True, "checks": attempt.checks}
    guarded_update(Attempt, guard, updated_at=now, **changes)
    for name, value in changes.items():
        setattr(attempt, name, value)


def _too_long_unknown(withdrawal: Transaction, now: datetime) -> bool:
    since = withdrawal.unknown_since
    patience = timedelta(seconds=settings.WITHDRAWAL_REVIEW_AFTER)
    return since is not None and now - since >= patience


def _sent_long_enough(attempt: Attempt, now: datetime) -> bool:
    """Whether the same reference was sent again, and again, to a bank that says nothing.

    Each time the outcome is in a sender's hands anew, so the attempt's age is what counts.
    After a standstill of ours it is sent again once, however old it is.
    """
    patience = timedelta(seconds=settings.WITHDRAWAL_REVIEW_AFTER)
    return attempt.sends > 1 and now - attempt.started_at >= patience


def _ask_review(withdrawal: Transaction, attempt: Attempt, now: datetime) -> None:
    if withdrawal.state is State.NEEDS_REVIEW:
        return
    detail = "the bank cannot tell whether it paid"
    _move(withdrawal, Event.ASK_REVIEW, attempt, now, detail)
    raise_alarm(
        Alarm.Kind.NEEDS_REVIEW,
        withdrawal,
        attempt_number=attempt.number,
        detail=detail,
        now=now,
    )


def _move(
    withdrawal: Transaction,
    event: Event,
    attempt: Attempt,
    now: datetime,
    evidence: str,
) -> None:
    move = Move(withdrawal, event, evidence=evidence, attempt_number=attempt.number)
    transition.apply([move], actor=payout.actor_name(), now=now)


def _record_all(
    answers: Sequence[tuple[Check, Answer]], abilities: Abilities, now: datetime | None
) -> None:
    if answers:
        run_in_transaction(lambda: _record(answers, abilities, now or database_now()))


def _record(
    answers: Sequence[tuple[Check, Answer]], abilities: Abilities, now: datetime
) -> None:
    locked = outcome.lock(check.attempt for check, _ in answers)
    conclusions = []
    for check, answer in answers:
        key = (check.attempt.transaction_id, check.attempt.number)
        attempt = locked.attempts[key]
        withdrawal = locked.transactions[attempt.transaction_id]
        if attempt.open is None:
            payout.check_late_answer(withdrawal, attempt, answer)
            continue
        if attempt.checks != check.attempt.checks:
            continue  # a later sweep has looked into it since
        event = _event_of(answer, attempt, abilities, check.taken_at)
        if event and rule_for(withdrawal.state, event):
            conclusions.append(
                Conclusion(
                    withdrawal, attempt, event, answer.reason, answer.http_status
                )
            )
        else:
            _plan_next_check(answer, attempt, abilities, check.taken_at, now)
    outcome.conclude(conclusions, locked.wallets, actor=payout.actor_name(), now=now)


def _event_of(
    answer: Answer, attempt: Attempt, abilities: Abilities, asked_at: datetime
) -> Event | None:
    """What a look-up proves, if anything. It is as old as the question."""
    if answer.outcome is Outcome.ACCEPTED:
        return Event.FOUND_PAID
    if answer.outcome is Outcome.REJECTED:
        return Event.FOUND_REJECTED
    believable = asked_at >= believable_at(attempt, abilities)
    if answer.outcome is Outcome.NOT_FOUND and believable and attempt.not_found_count:
        return Event.FOUND_NOTHING
    return None


def _plan_next_check(
    answer: Answer,
    attempt: Attempt,
    abilities: Abilities,
    asked_at: datetime,
    now: datetime,
) -> None:
    """Look again later; "not found" counts only when it can be believed, and in a row."""
    quiet_end = believable_at(attempt, abilities)
    next_check_at = now + check_delay(attempt.checks)
    not_found_count = 0
    if asked_at < quiet_end:
        next_check_at = max(now, min(next_check_at, quiet_end))
    elif answer.outcome is Outcome.NOT_FOUND:
        not_found_count = attempt.not_found_count + 1
        next_check_at = now + check_delay(0)
    guarded_update(
        Attempt,
        {"pk": attempt.pk, "open": True, "checks": attempt.checks},
        next_check_at=next_check_at,
        not_found_count=not_found_count,
        answer=answer.reason,
        http_status=answer.http_status,
        updated_at=now,
    )

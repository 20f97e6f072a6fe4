"""The effect of a look-up's answer: the end of an attempt, or its next check."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import Event, State, rule_for
from wallets.models.transaction import Transaction
from wallets.services.operations.alarm import is_listed, raise_alarm
from wallets.services.payouts import attempt as attempt_service
from wallets.services.payouts import belief, moment, outcome, payout, transition, waits
from wallets.services.payouts.backoff import check_delay
from wallets.services.payouts.moment import Moment
from wallets.services.payouts.outcome import Conclusion
from wallets.services.payouts.sent_to import abilities_for, is_same_bank
from wallets.services.payouts.step import Check, too_long_unknown
from wallets.services.payouts.transition import StateChange
from wallets.utils.bank.interface import Abilities, Answer, Outcome
from wallets.utils.database.transactions import run_unless_locked

SILENT = "the bank cannot tell whether it paid"
FORGOTTEN = "the bank's look-up may have forgotten: its 'not found' proves nothing"
LISTED = "the bank's list has the payment, and its look-up says that it did not pay"
OTHER_BANK = "another bank than the one that was asked to pay says that it refused"

# The events of a look-up that give money back.
_RELEASES = (Event.FOUND_NOTHING, Event.FOUND_REJECTED)


def longest_plan() -> timedelta:
    """Return the longest time from a check to the next one, without steps of clocks."""
    longest = settings.WITHDRAWAL_CHECK_CAP * (1 + settings.WITHDRAWAL_RETRY_JITTER)
    return timedelta(seconds=max(settings.WITHDRAWAL_LEASE, longest))


Found = tuple[Check, Answer]


def record(
    answers: Sequence[Found],
    present: Abilities,
    *,
    now: datetime | None = None,
    elapsed: float | None = None,
    wait: bool = True,
) -> list[Found]:
    """Write what the answers prove. Opens its own transaction.

    Returns the answers about rows that another transaction locks: with `wait=False` at
    once, otherwise after one lock time-out, and then all of them. Nothing is lost with
    such an answer: the bank is asked again.
    """
    if not answers:
        return []
    busy = run_unless_locked(
        lambda: _record(answers, present, moment.read(now, elapsed), wait)
    )
    return list(answers) if busy is None else busy


def ask_review(
    withdrawal: Transaction, attempt: Attempt, now: datetime, detail: str = SILENT
) -> None:
    """Move the withdrawal to review and raise an alarm, unless it is there already.

    Call inside a transaction, with the rows locked.
    """
    if withdrawal.state is State.NEEDS_REVIEW:
        return
    move = StateChange(
        withdrawal, Event.ASK_REVIEW, evidence=detail, attempt_number=attempt.number
    )
    transition.apply([move], actor=payout.actor_name(), now=now)
    raise_alarm(
        Alarm.Kind.NEEDS_REVIEW,
        withdrawal,
        attempt_number=attempt.number,
        detail=detail,
        now=now,
    )


def _record(
    answers: Sequence[Found], present: Abilities, told: Moment, wait: bool
) -> list[Found]:
    locked = outcome.lock((check.attempt for check, _ in answers), wait=wait)
    conclusions, busy = [], []
    for check, answer in answers:
        if not wait and check.attempt.transaction_id not in locked.transactions:
            busy.append((check, answer))
            continue
        key = (check.attempt.transaction_id, check.attempt.number)
        attempt = locked.attempts[key]
        withdrawal = locked.transactions[attempt.transaction_id]
        if attempt.open is None:
            outcome.check_late_answer(withdrawal, attempt, answer)
            continue
        if attempt.checks != check.attempt.checks:
            continue  # a later sweep has checked it since
        abilities = abilities_for(attempt, present)
        event = _event_of(answer, attempt, abilities, check.taken, told)
        doubt = _doubt(event, attempt, present)
        if doubt:
            _plan_next_check(answer, attempt, abilities, check.taken, told, False)
            ask_review(withdrawal, attempt, told.now, doubt)
            continue
        if event and rule_for(withdrawal.state, event):
            conclusions.append(
                Conclusion(
                    withdrawal, attempt, event, answer.reason, answer.http_status
                )
            )
            continue
        # In review "not found" changes nothing, so none is waited for.
        counts = rule_for(withdrawal.state, Event.FOUND_NOTHING) is not None
        counts &= _counts(answer, attempt, abilities, check.taken, told)
        _plan_next_check(answer, attempt, abilities, check.taken, told, counts)
        if answer.outcome is Outcome.NOT_FOUND and not belief.is_remembered(
            attempt, abilities, told
        ):
            ask_review(withdrawal, attempt, told.now, FORGOTTEN)
        elif not counts and too_long_unknown(attempt, withdrawal, told):
            # Only after the look-up: after a long downtime it may find the payment.
            ask_review(withdrawal, attempt, told.now)
    outcome.conclude(
        conclusions, locked.wallets, actor=payout.actor_name(), now=told.now
    )
    return busy


def _event_of(
    answer: Answer, attempt: Attempt, abilities: Abilities, asked: Moment, told: Moment
) -> Event | None:
    """Return the event that a look-up proves, or None."""
    if answer.outcome is Outcome.ACCEPTED:
        return Event.FOUND_PAID
    # Several requests of one reference have one outcome only at a bank that dedupes.
    if answer.outcome is Outcome.REJECTED and (attempt.sends == 1 or abilities.dedupes):
        return Event.FOUND_REJECTED
    if answer.outcome is Outcome.NOT_FOUND and belief.is_proof(
        attempt, abilities, asked=asked, told=told
    ):
        return Event.FOUND_NOTHING
    return None


def _doubt(event: Event | None, attempt: Attempt, present: Abilities) -> str:
    """Return why this event must not give money back; empty if it may."""
    if event is Event.FOUND_REJECTED and not is_same_bank(attempt, present):
        return OTHER_BANK
    return LISTED if event in _RELEASES and is_listed(attempt) else ""


def _counts(
    answer: Answer, attempt: Attempt, abilities: Abilities, asked: Moment, told: Moment
) -> bool:
    """Whether the answer is a "not found" that counts as one of two."""
    return answer.outcome is Outcome.NOT_FOUND and belief.counts(
        attempt, abilities, asked=asked, told=told
    )


def _plan_next_check(
    answer: Answer,
    attempt: Attempt,
    abilities: Abilities,
    asked: Moment,
    told: Moment,
    counts: bool,
) -> None:
    """Store the time of the next check and the number of "not found" in a row."""
    known = told.observed(attempt)
    not_found_count = 0
    wait = check_delay(attempt.checks).total_seconds()
    if counts:
        not_found_count = attempt.not_found_count + 1
        known = waits.with_not_found(known, clock=told.clock, elapsed=told.elapsed)
        attempt.waits = known
        least = check_delay(0).total_seconds()
        distant = belief.until_distant(attempt, abilities, told)
        wait = max(least, min(distant, settings.WITHDRAWAL_CHECK_CAP))
    else:
        known = waits.without_not_found(known)
        if belief.until_quiet(attempt, abilities, asked):
            wait = min(wait, belief.until_quiet(attempt, abilities, told))
    attempt_service.change(
        attempt,
        now=told.now,
        next_check_at=told.now + timedelta(seconds=wait),
        not_found_count=not_found_count,
        answer=answer.reason,
        http_status=answer.http_status,
        waits=known,
    )

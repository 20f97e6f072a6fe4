"""The end of an attempt: state, money and attempt change together or not at all.

Every end goes through `conclude`, whether the evidence is a sender's answer, a look-up
or an operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.states import Event, Rule, State
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.operations import alarm
from wallets.services.payouts import attempt as attempt_service
from wallets.services.payouts import transition
from wallets.services.payouts.backoff import retry_delay
from wallets.services.payouts.transition import StateChange
from wallets.services.withdrawals import recorded
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.bank.words import documented
from wallets.utils.database.batch import GuardedUpdate
from wallets.utils.database.transactions import lock_rows

# The failure code of each event that ends an attempt unpaid, or that makes none.
FAILURE_CODES = {
    Event.INSUFFICIENT: Transaction.FailureCode.INSUFFICIENT_BALANCE,
    Event.FROZEN: Transaction.FailureCode.WALLET_FROZEN,
    Event.REJECTED: Transaction.FailureCode.REJECTED,
    Event.FOUND_REJECTED: Transaction.FailureCode.REJECTED,
    Event.NOT_SENT: Transaction.FailureCode.NOT_SENT,
    Event.FOUND_NOTHING: Transaction.FailureCode.NOT_FOUND,
    Event.RESOLVE_NOT_PAID: Transaction.FailureCode.NOT_PAID,
}
_BANK_SAYS = {Event.ACCEPTED, Event.REJECTED, Event.FOUND_PAID, Event.FOUND_REJECTED}


@dataclass(frozen=True)
class Conclusion:
    """An event of an attempt with its evidence; `executed_at` (UTC) if known."""

    transaction: Transaction
    attempt: Attempt
    event: Event
    evidence: str
    http_status: int | None = None
    executed_at: datetime | None = None


@dataclass(frozen=True)
class Locked:
    """The locked rows of some attempts: wallets by id, then transactions by id."""

    wallets: dict[int, Wallet]
    transactions: dict[int, Transaction]
    attempts: dict[tuple[int, int], Attempt]


def lock(attempts: Iterable[Attempt], *, wait: bool = True) -> Locked:
    """Lock the rows of the attempts and read them again. Call inside a transaction.

    With `wait=False` attempts are left out whose wallet or withdrawal another
    transaction locks.
    """
    known = list(attempts)
    wallets = postings.lock_wallets(
        (attempt.transaction.wallet_id for attempt in known), wait=wait
    )
    if not wait:
        known = [each for each in known if each.transaction.wallet_id in wallets]
    ids = {attempt.transaction_id for attempt in known}
    rows = Transaction.objects.filter(pk__in=ids).order_by("pk").select_related(None)
    transactions = {row.pk: row for row in lock_rows(rows, skip_locked=not wait)}
    if not wait:
        known = [each for each in known if each.transaction_id in transactions]
    # By a unique column, so that the planner never expects many rows.
    fresh = Attempt.objects.filter(reference__in=[each.reference for each in known])
    return Locked(
        wallets=wallets,
        transactions=transactions,
        attempts={(row.transaction_id, row.number): row for row in fresh},
    )


def conclude(
    conclusions: Sequence[Conclusion],
    wallets: dict[int, Wallet],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Apply the events: states, movements and attempts, all or none.

    Call inside a transaction, with the rows locked by `lock`.

    :raises IllegalTransition: an event is not allowed; nothing has been written.
    :raises LostRace: another transaction concluded one of the attempts.
    """
    reviewed = [
        done.transaction.pk
        for done in conclusions
        if done.transaction.state is State.NEEDS_REVIEW
    ]
    moves = [_move(conclusion, now) for conclusion in conclusions]
    rules = [move.rule() for move in moves]
    pairs = list(zip(conclusions, rules, strict=True))
    listed = [
        done.attempt
        for done, rule in pairs
        if rule.to is State.COMPLETED and _may_be_listed(done, now)
    ]
    entries = [
        Posting(Movement.Kind(kind), done.transaction, done.attempt.number)
        for done, rule in pairs
        for kind in rule.movements
    ]

    # After this point the outcome must be written.
    transition.apply(moves, actor=actor, now=now)
    postings.post(entries, wallets, now=now)
    attempt_service.apply([_after(done, rule, now) for done, rule in pairs])
    if reviewed:
        alarm.end_reviews(reviewed, actor=actor, now=now)
    alarm.end_listed(listed, actor=actor, now=now)


def _may_be_listed(done: Conclusion, now: datetime) -> bool:
    """Whether the bank's list may have shown a paid attempt before. Pure.

    For the first sender within its lease no alarm is raised
    (`StatementAlarms.of_listed`): so a payment costs no query more.
    """
    first = done.transaction.state is State.SENDING and done.attempt.sends == 1
    at_work = first and done.attempt.lease_expires_at > now
    return not at_work


def _move(done: Conclusion, now: datetime) -> StateChange:
    withdrawal = done.transaction
    last = withdrawal.retry_count >= settings.WITHDRAWAL_MAX_RETRIES
    move = StateChange(
        withdrawal,
        done.event,
        evidence=done.evidence,
        attempt_number=done.attempt.number,
        last_retry=last,
    )
    to = move.rule().to
    # Clients see only documented words of the bank. Other evidence stays in the
    # history.
    says = documented(done.evidence) if done.event in _BANK_SAYS else ""
    move.changes["third_party_response"] = says
    if to is State.COMPLETED:
        move.changes |= {
            "executed_at": done.executed_at or done.attempt.started_at,
            "failure_code": "",
            "next_attempt_at": None,
        }
    elif to in (State.FAILED_RETRYABLE, State.FAILED_FINAL):
        move.changes["failure_code"] = FAILURE_CODES[done.event]
        move.changes["next_attempt_at"] = (
            now + retry_delay(withdrawal.retry_count)
            if to is State.FAILED_RETRYABLE
            else None
        )
    return move


def _after(done: Conclusion, rule: Rule, now: datetime) -> GuardedUpdate:
    return attempt_service.after(
        done.attempt,
        done.event,
        rule.to,
        evidence=done.evidence,
        http_status=done.http_status,
        now=now,
    )


def event_of(answer: Answer, attempt: Attempt) -> Event:
    """Return the event that a sender's answer means for the attempt.

    "Refused" and "not sent" are proof only for the only request of an attempt. After a
    second request with the same reference, the other one may still be paid, or may be
    the reason of the refusal.
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
    """Raise an alarm if the answer contradicts the end of its attempt."""
    paid = attempt.outcome == Attempt.Outcome.ACCEPTED
    if answer.outcome is Outcome.ACCEPTED and not paid:
        if recorded.find(withdrawal, attempt.reference):
            return  # an operator was told so before
        kind = Alarm.Kind.PAID_AFTER_RELEASE
    elif answer.outcome is Outcome.REJECTED and paid:
        kind = Alarm.Kind.CONTRADICTION
    else:
        return
    alarm.raise_alarm(
        kind, withdrawal, attempt_number=attempt.number, detail=answer.reason
    )

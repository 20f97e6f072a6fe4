"""Takes attempts to resolve: the next step is committed before it is done."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from wallets.errors import DamagedRows
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import Event, State
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm
from wallets.services.payouts import attempt as attempt_service
from wallets.services.payouts import look_up, outcome, payout, transition
from wallets.services.payouts.moment import Moment
from wallets.services.payouts.outcome import Locked
from wallets.services.payouts.sent_to import abilities_for
from wallets.services.payouts.step import (
    Check,
    Step,
    next_step,
    too_long_unknown,
    until_lease_ends,
)
from wallets.services.payouts.transition import StateChange
from wallets.utils.bank.interface import Abilities, Payment

LEASE_EXPIRED = "the lease ended without an answer"

# The states in which the money of an open attempt is held.
_HELD = (State.SENDING, State.UNKNOWN, State.NEEDS_REVIEW)


def due(now: datetime) -> QuerySet[Attempt]:
    """Return the attempts whose check is due, or was planned by a wrong clock."""
    planned_by_another_clock = Q(next_check_at__gt=now + look_up.longest_plan())
    # With "open = true" Django omits the value, and SQLite then uses no index; with IN
    # it does.
    return Attempt.objects.filter(
        Q(next_check_at__lte=now) | planned_by_another_clock, open__in=[True]
    )


def _is_due(attempt: Attempt, now: datetime) -> bool:
    planned = attempt.next_check_at
    if not attempt.open or planned is None:
        return False
    return planned <= now or planned > now + look_up.longest_plan()


def take(
    candidates: QuerySet[Attempt],
    abilities: Abilities,
    taken: Moment,
    *,
    wait: bool = True,
) -> tuple[list[Check], set[int]]:
    """Take the attempts to resolve, so that no other sweep takes them, too.

    Call inside a transaction. Locks wallets and withdrawals, each by id. With
    `wait=False` it skips what another transaction locks, and returns the wallets of
    these attempts, too.

    :raises DamagedRows: rows of one attempt contradict each other; nothing is written.
    """
    known = list(candidates)
    locked = _lock(known, wait)
    chosen = [
        (attempt, locked.transactions[attempt.transaction_id])
        for attempt in locked.attempts.values()
        if _is_due(attempt, taken.now)
    ]
    steps = [
        next_step(abilities_for(attempt, abilities), attempt, withdrawal, taken)
        for attempt, withdrawal in chosen
    ]
    steps = _without_what_is_said_paid(chosen, steps)
    _mark_expired(
        [
            pair
            for pair, step in zip(chosen, steps, strict=True)
            if step is not Step.LEAVE
        ],
        taken.now,
    )
    checks = []
    for (attempt, withdrawal), step in zip(chosen, steps, strict=True):
        _prepare(step, attempt, withdrawal, taken)
        payment = Payment(attempt.reference, withdrawal.wallet.uuid, withdrawal.amount)
        checks.append(Check(step, attempt, payment, taken))
    busy = {
        attempt.transaction.wallet_id
        for attempt in known
        if attempt.transaction_id not in locked.transactions
    }
    return checks, busy


def _without_what_is_said_paid(
    chosen: list[tuple[Attempt, Transaction]], steps: list[Step]
) -> list[Step]:
    """Send nothing again for a withdrawal that the bank has paid, as an alarm says.

    Unless the bank's list has this attempt: the bank then dedupes the same reference.
    One that has paid it twice, or otherwise than we asked, does not.
    """
    if Step.RESEND not in steps:
        return steps
    said: dict[int, set[tuple[str, int]]] = defaultdict(set)
    alarms = alarm.said_paid([withdrawal.pk for _, withdrawal in chosen])
    about = alarms.values_list("transaction_id", "kind", "attempt_number")
    for pk, kind, number in about:
        said[pk].add((kind, number))
    return [
        (
            Step.REVIEW
            if step is Step.RESEND
            and said[withdrawal.pk] - {(Alarm.Kind.UNKNOWN_PAYMENT, attempt.number)}
            else step
        )
        for (attempt, withdrawal), step in zip(chosen, steps, strict=True)
    ]


def _lock(candidates: list[Attempt], wait: bool) -> Locked:
    """Lock and check all rows of the attempts.

    :raises DamagedRows: a row is missing, or the money of an open attempt is not held.
    """
    known = Transaction.objects.in_bulk({each.transaction_id for each in candidates})
    for attempt in candidates:
        if attempt.transaction_id not in known:
            raise DamagedRows(f"no withdrawal {attempt.transaction_id}")
        attempt.transaction = known[attempt.transaction_id]
    locked = outcome.lock(candidates, wait=wait)
    for attempt in locked.attempts.values():
        withdrawal = locked.transactions[attempt.transaction_id]
        if withdrawal.wallet_id not in locked.wallets:
            raise DamagedRows(f"no wallet {withdrawal.wallet_id}")
        if attempt.open and withdrawal.state not in _HELD:
            raise DamagedRows(
                f"an open attempt of a withdrawal that is {withdrawal.state.value}"
            )
        withdrawal.wallet = locked.wallets[withdrawal.wallet_id]
        attempt.transaction = withdrawal
    return locked


def _mark_expired(chosen: list[tuple[Attempt, Transaction]], now: datetime) -> None:
    """Set attempts whose lease ended without an answer to unknown."""
    silent = [
        StateChange(
            withdrawal,
            Event.UNKNOWN,
            evidence=LEASE_EXPIRED,
            attempt_number=attempt.number,
        )
        for attempt, withdrawal in chosen
        if withdrawal.state is State.SENDING
    ]
    transition.apply(silent, actor=payout.actor_name(), now=now)


def _prepare(
    step: Step, attempt: Attempt, withdrawal: Transaction, taken: Moment
) -> None:
    """Store the next step: the time of the next check, the new lease, or the review."""
    now = taken.now
    lease_end = now + timedelta(seconds=settings.WITHDRAWAL_LEASE)
    changes: dict[str, Any] = {
        "outcome": Attempt.Outcome.UNKNOWN,
        "checks": attempt.checks + 1,
        "next_check_at": lease_end,
        "waits": taken.observed(attempt),
    }
    if step is Step.LEAVE:
        left = until_lease_ends(attempt, withdrawal, taken)
        changes["outcome"] = attempt.outcome
        changes["next_check_at"] = now + timedelta(seconds=left)
    elif step is Step.RESEND:
        move = StateChange(
            withdrawal,
            Event.RESEND,
            evidence="same reference again",
            attempt_number=attempt.number,
        )
        transition.apply([move], actor=payout.actor_name(), now=now)
        changes |= {
            "sends": attempt.sends + 1,
            "not_found_count": 0,
            "last_sent_at": now,
            "lease_expires_at": lease_end,
            "waits": taken.begun_again(attempt),
        }
    elif step is Step.REVIEW or (
        step is Step.WAIT and too_long_unknown(attempt, withdrawal, taken)
    ):
        look_up.ask_review(withdrawal, attempt, now)
        changes["next_check_at"] = None
    attempt_service.change(attempt, now=now, **changes)
    for name, value in changes.items():
        setattr(attempt, name, value)

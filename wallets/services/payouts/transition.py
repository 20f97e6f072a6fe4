"""State changes of withdrawals: a guarded UPDATE and an append-only row, together.

Nothing else changes a withdrawal's status. All functions are steps: call them inside a
transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction as db_transaction

from wallets.errors import IllegalTransition
from wallets.models.states import Event, Rule, State, rule_for
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.utils.database.batch import (
    GuardedUpdate,
    as_new,
    guarded_updates,
    insert_rows,
)

logger = logging.getLogger(__name__)

_SCHEDULE = "schedule"
# Events that are logged at level DEBUG only.
_ROUTINE = {_SCHEDULE, Event.CLAIM.value, Event.ACCEPTED.value}


@dataclass
class StateChange:
    """One event of a withdrawal. `changes` are further columns."""

    transaction: Transaction
    event: Event
    evidence: str = ""
    attempt_number: int | None = None
    last_retry: bool = False
    changes: dict[str, Any] = field(default_factory=dict)

    def rule(self) -> Rule:
        """Return the rule for this event in the withdrawal's state.

        :raises IllegalTransition: the table has no such event for the state.
        """
        state = self.transaction.state
        rule = rule_for(state, self.event, last_retry=self.last_retry)
        if rule is None:
            raise IllegalTransition(state.value, self.event.value)
        return rule


def record_scheduled(
    withdrawals: Sequence[Transaction], *, actor: str, now: datetime, evidence: str = ""
) -> None:
    """Write the first transition of each withdrawal, and log it after the commit."""
    rows = _first_rows(withdrawals, actor=actor, now=now, evidence=evidence)
    insert_rows(Transition, rows)
    db_transaction.on_commit(lambda: _log(rows), robust=True)


def log_scheduled(
    withdrawals: Sequence[Transaction], *, actor: str, now: datetime
) -> None:
    """Log the first transitions after the commit. The fast path has written them."""
    if logger.isEnabledFor(logging.DEBUG):
        rows = _first_rows(withdrawals, actor=actor, now=now)
        db_transaction.on_commit(lambda: _log(rows), robust=True)


def _first_rows(
    withdrawals: Sequence[Transaction], *, actor: str, now: datetime, evidence: str = ""
) -> list[Transition]:
    return [
        as_new(
            Transition,
            transaction_id=withdrawal.pk,
            sequence=0,
            event=_SCHEDULE,
            from_state="",
            to_state=State.PENDING.value,
            actor=actor,
            evidence=evidence,
            created_at=now,
        )
        for withdrawal in withdrawals
    ]


def apply(moves: Sequence[StateChange], *, actor: str, now: datetime) -> None:
    """Apply the events and write their transitions, all or none.

    Call inside a transaction.

    :raises IllegalTransition: an event is not allowed; nothing has been written.
    :raises LostRace: another transaction has changed a withdrawal meanwhile.
    """
    rules = [move.rule() for move in moves]

    # After this point the moves must be written.
    updates, rows = [], []
    for move, rule in zip(moves, rules, strict=True):
        update = _update(move, rule, now)
        rows.append(_advance(move, rule, update.changes, actor=actor, now=now))
        updates.append(update)
    guarded_updates(Transaction, updates)
    insert_rows(Transition, rows)
    db_transaction.on_commit(lambda: _log(rows), robust=True)


def _log(rows: Sequence[Transition]) -> None:
    """Log one line for each transition; routine events at level DEBUG."""
    for row in rows:
        logger.log(
            logging.DEBUG if row.event in _ROUTINE else logging.INFO,
            "withdrawal: %s",
            row.event,
            extra={
                "withdrawal_id": row.transaction_id,
                "attempt": row.attempt_number,
                "state": row.to_state,
                "actor": row.actor,
            },
        )


def _update(move: StateChange, rule: Rule, now: datetime) -> GuardedUpdate:
    withdrawal = move.transaction
    return GuardedUpdate(
        {
            "pk": withdrawal.pk,
            "status": withdrawal.status,
            "version": withdrawal.version,
        },
        {
            "version": withdrawal.version + 1,
            "updated_at": now,
            **_columns(rule.to, withdrawal, now),
            **move.changes,
        },
    )


def _advance(
    move: StateChange, rule: Rule, changes: dict[str, Any], *, actor: str, now: datetime
) -> Transition:
    """Update the withdrawal in memory; return its transition."""
    withdrawal = move.transaction
    before = withdrawal.state
    for name, value in changes.items():
        setattr(withdrawal, name, value)
    return as_new(
        Transition,
        transaction_id=withdrawal.pk,
        sequence=withdrawal.version,
        event=move.event.value,
        from_state=before.value,
        to_state=rule.to.value,
        attempt_number=move.attempt_number,
        actor=actor,
        evidence=move.evidence,
        # Only a reschedule changes it.
        scheduled_for=changes.get("scheduled_for"),
        created_at=now,
    )


def _columns(to: State, withdrawal: Transaction, now: datetime) -> dict[str, Any]:
    """Return the columns that represent a state."""
    unknown = to in (State.UNKNOWN, State.NEEDS_REVIEW)
    return {
        "status": to.status,
        "unknown_since": (withdrawal.unknown_since or now) if unknown else None,
        "needs_review": to is State.NEEDS_REVIEW,
        "final": to is State.FAILED_FINAL,
        "waits_for_wallet": False,
    }

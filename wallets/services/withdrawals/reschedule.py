"""Another time for a withdrawal of which no attempt was made."""

from __future__ import annotations

import uuid
from datetime import datetime

from wallets.errors import NotReschedulable
from wallets.models.states import Event, State, rule_for
from wallets.models.transaction import Transaction
from wallets.services.payouts import transition
from wallets.services.payouts.transition import StateChange
from wallets.services.requests.checks import check_actor, checked_schedule
from wallets.services.withdrawals.lock import id_of, lock
from wallets.services.withdrawals.schedule_batch import hand_over
from wallets.utils.caller import ANYBODY
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    run_in_transaction,
)


def reschedule(
    transaction_id: int,
    scheduled_for: datetime,
    *,
    actor: str = ANYBODY.actor,
    now: datetime | None = None,
) -> Transaction:
    """Give a PENDING withdrawal another time, sooner or later.

    The time obeys the rule of `schedule`: an instant after the database's time, within
    the horizon. Opens its own transaction; locks the withdrawal. One that is due and
    not claimed yet can be rescheduled: of this and a claim, the second one to get the
    lock sees what the first one did. One that waits for its frozen wallet waits no
    longer; the wallet is looked at again at the new time. The time that it has already
    is returned unchanged, and a request that was done stays done: it can be repeated,
    also after the withdrawal was paid or cancelled.

    :raises InvalidInput: the actor is empty or too long.
    :raises InvalidSchedule: (a `ValueError`) naive, not in the future, or too far
        ahead.
    :raises NotReschedulable: an attempt was made, or the withdrawal has ended.
    :raises Transaction.DoesNotExist: no such withdrawal.
    """
    check_actor(actor)

    def work() -> Transaction:
        withdrawal = lock(transaction_id)
        if _has_time_already(withdrawal, scheduled_for):
            return withdrawal
        if rule_for(withdrawal.state, Event.RESCHEDULE) is None:
            raise NotReschedulable(withdrawal.state.value, Event.RESCHEDULE.value)
        # Read after the lock: the wait for it may have been long.
        moment = now or database_now()
        changes = {
            "scheduled_for": checked_schedule(scheduled_for, now=moment),
            "first_scheduled_for": withdrawal.requested_for,
        }

        # After this point the withdrawal must get its new time.
        move = StateChange(withdrawal, Event.RESCHEDULE, changes=changes)
        transition.apply([move], actor=actor, now=moment)
        hand_over([withdrawal], now=moment)
        return withdrawal

    return run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)


def _has_time_already(withdrawal: Transaction, scheduled_for: datetime) -> bool:
    """Whether there is nothing to do: it has this time, or got it by this request."""
    if withdrawal.scheduled_for != scheduled_for:
        return False
    was_rescheduled = withdrawal.first_scheduled_for is not None
    return was_rescheduled or withdrawal.state is State.PENDING


def reschedule_of(
    wallet_uuid: uuid.UUID | str,
    transaction_id: int,
    scheduled_for: datetime,
    *,
    actor: str = ANYBODY.actor,
) -> Transaction:
    """Reschedule a withdrawal of this wallet, as `reschedule`.

    Opens its own transactions.

    :raises InvalidSchedule: as `reschedule`.
    :raises NotReschedulable: as `reschedule`; also for a deposit.
    :raises Transaction.DoesNotExist: the wallet has no such transaction.
    """
    pk = id_of(
        wallet_uuid, transaction_id, event=Event.RESCHEDULE, refusal=NotReschedulable
    )
    return reschedule(pk, scheduled_for, actor=actor)

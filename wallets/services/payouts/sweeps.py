"""The sweeps for tasks and commands: bounded, and with a heartbeat."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from wallets.models.transaction import Transaction
from wallets.services.operations import heartbeat
from wallets.services.payouts import (
    claiming,
    damage,
    dispatch,
    drain,
    put_aside,
    resolver,
    waiting,
)
from wallets.utils import clock
from wallets.utils.bank.interface import Bank
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import broker, slots
from wallets.utils.third_party import get_bank

_TASKS = {
    heartbeat.PENDING: dispatch.DRAIN_PENDING,
    heartbeat.RETRY: dispatch.DRAIN_RETRYABLE,
}


def pay_pending(*, bank: Bank | None = None, seconds: float | None = None) -> int:
    """Pay what is due, and what becomes due within `seconds` (a tick's interval).

    Opens its own transactions. Returns how many withdrawals were claimed.
    """
    if seconds is None:
        seconds = settings.WITHDRAWAL_DUE_INTERVAL
    return _drain(heartbeat.PENDING, claiming.find_due, bank, seconds)


def pay_retries(*, bank: Bank | None = None, seconds: float | None = None) -> int:
    """Retry failed withdrawals whose next attempt is due. As `pay_pending`."""
    if seconds is None:
        seconds = settings.WITHDRAWAL_DUE_INTERVAL
    return _drain(heartbeat.RETRY, claiming.find_retryable, bank, seconds)


def _drain(name: str, find: claiming.FindDue, bank: Bank | None, seconds: float) -> int:
    """Run a drain, unless this worker runs as many as it may.

    The slot is released when nothing more will be claimed. A task that found no slot
    before that has left its work to this drain. So the drain looks once more, and wakes
    another drain for what became due after its last claim.
    """
    slot = slots.take(name)
    if slot is None:
        return 0
    aside = put_aside.resting()
    try:
        waiting.end()
        sweep = drain.Drain(
            find,
            bank=bank or get_bank(),
            seconds=seconds,
            on_last_look=slot.release,
            damaged=aside,
        )
        claimed = sweep.run()
    finally:
        slot.release()
    put_aside.withdrawals(set(sweep.claiming.damaged) - aside)
    if sweep.claiming.looked:
        heartbeat.beat(name)
        if slots.bounded() and sweep.claiming.leaves_work():
            broker.wake_up(_TASKS[name])
    return claimed


def resolve_unknown(*, bank: Bank | None = None) -> int:
    """Process unknown outcomes whose check is due, for one tick's interval at most.

    Opens its own transactions. Returns how many attempts were processed. Also reports
    withdrawals that wait for an attempt which they do not have.
    """
    ends = clock.elapsed() + settings.WITHDRAWAL_RESOLVE_INTERVAL
    total = 0
    damaged: set[int] = set()  # attempts that this sweep skips from now on
    while clock.elapsed() < ends:
        count = resolver.resolve_due(
            bank=bank or get_bank(),
            limit=settings.WITHDRAWAL_BATCH_SIZE,
            damaged=damaged,
        )
        total += count
        if count < settings.WITHDRAWAL_BATCH_SIZE:
            break
    damage.report_homeless()
    heartbeat.beat(heartbeat.RESOLVE)
    return total


def execute_single(transaction_id: int, *, bank: Bank | None = None) -> str | None:
    """Drain until this withdrawal is paid, if it is due; return its status then.

    Returns None for an unknown id. A stale, doubled or early message changes nothing.
    Other due withdrawals are paid in their turn.
    """
    rows = Transaction.objects.filter(
        pk=transaction_id, transaction_type=Transaction.TransactionType.WITHDRAWAL
    )
    ways = ((claiming.find_due, pay_pending), (claiming.find_retryable, pay_retries))
    ends = clock.elapsed() + settings.WITHDRAWAL_DUE_INTERVAL
    for find, pay in ways:
        while clock.elapsed() < ends:
            soon = database_now() + timedelta(seconds=settings.WITHDRAWAL_POLL)
            due = find(soon).filter(pk=transaction_id).exists()
            if not due or not pay(bank=bank, seconds=settings.WITHDRAWAL_POLL):
                break
    return rows.values_list("status", flat=True).first()

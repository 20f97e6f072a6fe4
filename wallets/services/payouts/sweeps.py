"""The sweeps as tasks and commands run them: bounded, and with a heartbeat."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from wallets.models.transaction import Transaction
from wallets.services.operations import heartbeat
from wallets.services.payouts import dispatch, drain, put_aside, resolver
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
    """Pay what is due, and what becomes due within a tick's interval, at its time."""
    if seconds is None:
        seconds = settings.WITHDRAWAL_DUE_INTERVAL
    return _drain(heartbeat.PENDING, drain.find_due, bank, seconds)


def pay_retries(*, bank: Bank | None = None, seconds: float | None = None) -> int:
    """Try failed withdrawals again whose next attempt is due."""
    if seconds is None:
        seconds = settings.WITHDRAWAL_DUE_INTERVAL
    return _drain(heartbeat.RETRY, drain.find_retryable, bank, seconds)


def _drain(name: str, find: drain.FindDue, bank: Bank | None, seconds: float) -> int:
    """Drain, unless this worker does so already as often as it may.

    The slot is free again as soon as nothing more will be claimed. Whoever came before and
    found none has left its work to this drain, which therefore looks once more: what became
    due after its last claim gets another drain.
    """
    slot = slots.take(name)
    if slot is None:
        return 0
    aside = put_aside.resting()
    try:
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
    put_aside.withdrawals(set(sweep.damaged) - aside)
    if sweep.looked:
        heartbeat.beat(name)
        if slots.bounded() and sweep.leaves_work():
            broker.wake_up(_TASKS[name])
    return claimed


def resolve_unknown(*, bank: Bank | None = None) -> int:
    """Look into unknown outcomes whose check is due, for a tick's time at most."""
    ends = clock.elapsed() + settings.WITHDRAWAL_RESOLVE_INTERVAL
    total = 0
    damaged: set[int] = set()  # attempts that are left out for the rest of this sweep
    while clock.elapsed() < ends:
        count = resolver.resolve_due(
            bank=bank or get_bank(),
            limit=settings.WITHDRAWAL_BATCH_SIZE,
            damaged=damaged,
        )
        total += count
        if count < settings.WITHDRAWAL_BATCH_SIZE:
            break
    heartbeat.beat(heartbeat.RESOLVE)
    return total


def execute_single(transaction_id: int, *, bank: Bank | None = None) -> str | None:
    """Drain until this withdrawal is paid, if it is due; return its status then.

    None for an unknown id. A message that is stale, doubled or much too early changes
    nothing; one that comes in time pays whatever else is due, each in its turn.
    """
    rows = Transaction.objects.filter(
        pk=transaction_id, transaction_type=Transaction.TransactionType.WITHDRAWAL
    )
    ways = ((drain.find_due, pay_pending), (drain.find_retryable, pay_retries))
    ends = clock.elapsed() + settings.WITHDRAWAL_DUE_INTERVAL
    for find, pay in ways:
        while clock.elapsed() < ends:
            soon = database_now() + timedelta(seconds=settings.WITHDRAWAL_POLL)
            due = find(soon).filter(pk=transaction_id).exists()
            if not due or not pay(bank=bank, seconds=settings.WITHDRAWAL_POLL):
                break
    return rows.values_list("status", flat=True).first()

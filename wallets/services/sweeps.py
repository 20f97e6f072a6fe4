"""The sweeps as tasks and commands run them: bounded, and with a heartbeat."""

from __future__ import annotations

import time
from datetime import datetime

from django.conf import settings

from wallets.models.transaction import Transaction
from wallets.services import drain, heartbeat, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.utils import clock
from wallets.utils.bank import Bank
from wallets.utils.db import database_now
from wallets.utils.third_party import get_bank

# A message that arrives this early waits: a broker's timer may count in whole seconds.
# Earlier ones are left to the sweep.
EARLY_SECONDS = 1.5


def pay_pending(*, bank: Bank | None = None, seconds: float | None = None) -> int:
    """Pay what is due, and what becomes due within a tick's interval, at its time."""
    if seconds is None:
        seconds = settings.WITHDRAWAL_DUE_INTERVAL
    sweep = drain.Drain(drain.find_due, bank=bank or get_bank(), seconds=seconds)
    claimed = sweep.run()
    heartbeat.beat("pending")
    return claimed


def pay_retries(*, bank: Bank | None = None) -> int:
    """Try failed withdrawals again whose next attempt is due."""
    sweep = drain.Drain(
        drain.find_retryable,
        bank=bank or get_bank(),
        seconds=settings.WITHDRAWAL_DUE_INTERVAL,
    )
    claimed = sweep.run()
    heartbeat.beat("retry")
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
    heartbeat.beat("resolve")
    return total


def execute_single(transaction_id: int, *, bank: Bank | None = None) -> str | None:
    """Execute one withdrawal if it is due; return its status, None for an unknown id.

    A message may come a moment early, by a clock that runs ahead: it waits. One that is
    stale, doubled or much too early changes nothing.
    """
    rows = Transaction.objects.filter(
        pk=transaction_id, transaction_type=Transaction.TransactionType.WITHDRAWAL
    )
    scheduled_for: datetime | None = (
        rows.filter(status=Transaction.Status.PENDING)
        .values_list("scheduled_for", flat=True)
        .first()
    )
    if scheduled_for is not None:
        early = (scheduled_for - database_now()).total_seconds()
        if 0 < early <= EARLY_SECONDS:
            time.sleep(early)
    try:
        return WithdrawalService.execute(transaction_id, bank=bank).status
    except Transaction.DoesNotExist:
        return rows.values_list("status", flat=True).first()

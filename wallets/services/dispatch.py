"""Rings the bell: tells workers that there is work. Messages are a courtesy.

Each may be lost, late, doubled or stale. What the database says is due gets done by the
next sweep in any case, so nothing here may fail a request or hold it up.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from wallets.models.transaction import Transaction
from wallets.services import heartbeat
from wallets.utils import broker
from wallets.utils.db import database_now

# More is not counted: the number only says how many workers to ring for.
COUNT_LIMIT = 10_000


def hand_over(transaction_id: int, when: datetime, *, now: datetime) -> None:
    """Hand a withdrawal that is due before the next tick to a worker, for its exact time.

    Called after the commit. Neither waits nor raises for a broker's trouble. No timer
    longer than the tick's interval ever goes to the broker: Redis would redeliver it.
    """
    interval = timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL)
    if when - now > interval:
        return
    broker.ring(
        "wallets.tasks.process_single_withdrawal",
        args=[transaction_id],
        eta=when,
        expires=when + interval,
    )


def ring_for_pending() -> int:
    """Ring for withdrawals due now or before the next tick; return how many there are."""
    interval = settings.WITHDRAWAL_DUE_INTERVAL
    horizon = database_now() + timedelta(seconds=interval)
    due = Transaction.get_due_pending_withdrawals(horizon)
    return _ring("pending", due, "wallets.tasks.drain_pending_withdrawals", interval)


def ring_for_retries() -> int:
    """Ring for failed withdrawals whose next attempt is due; return how many there are."""
    due = Transaction.get_failed_retryable_withdrawals(now=database_now())
    task = "wallets.tasks.drain_retryable_withdrawals"
    return _ring("retry", due, task, settings.WITHDRAWAL_RETRY_INTERVAL)


def _ring(sweep: str, due: QuerySet[Transaction], task: str, interval: float) -> int:
    count = due.order_by()[:COUNT_LIMIT].count()
    if count == 0:
        # Nothing to do is a sweep done; where there is work, the drain says when.
        heartbeat.beat(sweep)
    batches = math.ceil(count / settings.WITHDRAWAL_BATCH_SIZE)
    for _ in range(min(batches, settings.WITHDRAWAL_MAX_BELLS)):
        broker.ring(task, expires=interval)
    return count

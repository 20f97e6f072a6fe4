"""Wakes workers: tells them that there is work. Messages are a courtesy.

Each may be lost, late, doubled or stale. What the database says is due gets done by the
next sweep in any case, so nothing here may fail a request or hold it up. A message makes a
worker drain and never carries one payment: so no withdrawal goes before another because it
was scheduled later.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from wallets.models.transaction import Transaction
from wallets.services.operations import heartbeat, pause
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import broker

DRAIN_PENDING = "wallets.tasks.drain_pending_withdrawals"
DRAIN_RETRYABLE = "wallets.tasks.drain_retryable_withdrawals"
# More is not counted: the number only says how many workers to wake.
COUNT_LIMIT = 10_000


def hand_over(when: datetime, *, now: datetime) -> None:
    """Wake a worker for a withdrawal that is due before the next tick.

    Called after the commit. Neither waits nor raises for a broker's trouble. A drain that
    is at work already will see the withdrawal; so a few messages do for any number.
    """
    if when - now <= timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL):
        broker.wake_up(DRAIN_PENDING)


def hand_over_retry() -> None:
    """Wake a worker for a failed withdrawal whose next attempt is due now. As above."""
    broker.wake_up(DRAIN_RETRYABLE)


def wake_for_pending() -> int:
    """Wake workers for what is due now or before the next tick; return how many that are."""
    horizon = database_now() + timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL)
    due = Transaction.get_due_pending_withdrawals(horizon)
    return _wake(heartbeat.PENDING, due, DRAIN_PENDING)


def wake_for_retries() -> int:
    """Wake workers for failed withdrawals whose next attempt is due; return how many."""
    due = Transaction.get_failed_retryable_withdrawals(now=database_now())
    return _wake(heartbeat.RETRY, due, DRAIN_RETRYABLE)


def _wake(sweep: str, due: QuerySet[Transaction], task: str) -> int:
    count = due.order_by()[:COUNT_LIMIT].count()
    if pause.is_paused():
        return count  # no drain would claim anything, so none says that it has
    if count == 0:
        # Nothing waits to be paid, and a worker has looked. Where something does, only
        # the drain that claims it may say so.
        heartbeat.beat(sweep)
        return 0
    batches = math.ceil(count / settings.WITHDRAWAL_BATCH_SIZE)
    broker.wake_up(task, min(batches, settings.WITHDRAWAL_MAX_WAKEUPS))
    return count

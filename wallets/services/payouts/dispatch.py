"""Wakes workers by messages.

A message may be lost, late, doubled or stale. The next sweep does the work in any case,
so sending must not fail or delay a request. A message starts a drain and never carries
one payment, so withdrawals are paid in the order in which they are due.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from wallets.models.transaction import Transaction
from wallets.services.operations import heartbeat, pause
from wallets.services.payouts import waiting
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import broker

DRAIN_PENDING = broker.DRAIN_PENDING
DRAIN_RETRYABLE = broker.DRAIN_RETRYABLE
# Not counted further: the number only decides how many workers to wake.
COUNT_LIMIT = 10_000


def hand_over(when: datetime, *, now: datetime) -> None:
    """Wake a worker for a withdrawal that is due before the next tick.

    Call after the commit. Never waits and never raises because of the broker. A running
    drain sees the withdrawal anyway, so few messages are enough for many withdrawals.
    """
    if when - now <= timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL):
        broker.wake_up(DRAIN_PENDING)


def hand_over_retry() -> None:
    """Wake a worker for a failed withdrawal whose retry is due. As `hand_over`."""
    broker.wake_up(DRAIN_RETRYABLE)


def hand_over_ended_freeze() -> None:
    """Wake workers for withdrawals that waited for their wallet. As `hand_over`."""
    broker.wake_up(DRAIN_PENDING)
    broker.wake_up(DRAIN_RETRYABLE)


def wake_for_pending() -> int:
    """Wake workers for what is due before the next tick; return its number."""
    horizon = database_now() + timedelta(seconds=settings.WITHDRAWAL_DUE_INTERVAL)
    due = Transaction.get_due_pending_withdrawals(horizon)
    return _wake(heartbeat.PENDING, due, DRAIN_PENDING)


def wake_for_retries() -> int:
    """Wake workers for failed withdrawals whose retry is due; return their number."""
    due = Transaction.get_failed_retryable_withdrawals(now=database_now())
    return _wake(heartbeat.RETRY, due, DRAIN_RETRYABLE)


def _wake(sweep: str, due: QuerySet[Transaction], task: str) -> int:
    waiting.end()
    count = waiting.without_held(due).order_by()[:COUNT_LIMIT].count()
    if pause.is_paused():
        return count  # no drain may claim, so there is no heartbeat
    if count == 0:
        # A worker has looked, and nothing is due. If something is due, only the drain
        # that claims it sends the heartbeat.
        heartbeat.beat(sweep)
        return 0
    batches = math.ceil(count / settings.WITHDRAWAL_BATCH_SIZE)
    broker.wake_up(task, min(batches, settings.WITHDRAWAL_MAX_WAKEUPS))
    return count

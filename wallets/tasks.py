"""Celery tasks: each makes one service call. The specification defines the names."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from wallets.services.operations import reconciliation_daily
from wallets.services.payouts import dispatch, sweeps


@shared_task
def process_pending_withdrawals() -> dict[str, int]:
    """Beat, every 10 s: wake workers for what is due before the next tick."""
    return {"dispatched": dispatch.wake_for_pending()}


@shared_task
def retry_failed_withdrawals() -> dict[str, int]:
    """Beat, every 60 s: wake workers for failed withdrawals whose retry is due."""
    return {"dispatched": dispatch.wake_for_retries()}


@shared_task
def resolve_unknown_withdrawals() -> dict[str, int]:
    """Beat, every 10 s: resolve unknown outcomes."""
    return {"checked": sweeps.resolve_unknown()}


# A list may be long, and nothing waits for it: longer limits than the sweeps.
@shared_task(soft_time_limit=600, time_limit=660)
def reconcile_bank() -> dict[str, int]:
    """Beat, every 10 min: once a day compare the ledger with the bank's list."""
    return {"differences": reconciliation_daily.reconcile_when_due()}


@shared_task
def drain_pending_withdrawals() -> dict[str, int]:
    """Pay what is due, and what becomes due within one tick's interval."""
    return {"claimed": sweeps.pay_pending()}


@shared_task
def drain_retryable_withdrawals() -> dict[str, int]:
    """Retry the failed withdrawals whose next attempt is due."""
    return {"claimed": sweeps.pay_retries()}


@shared_task
def process_single_withdrawal(transaction_id: int) -> dict[str, Any]:
    """Drain until this withdrawal is paid, if it is due; return its status."""
    status = sweeps.execute_single(transaction_id)
    return {"transaction_id": transaction_id, "status": status}

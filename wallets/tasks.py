"""Celery tasks: ids in, one service call each. The names are the specification's."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from wallets.services.operations import reconciliation
from wallets.services.payouts import dispatch, sweeps


@shared_task
def process_pending_withdrawals() -> dict[str, int]:
    """Beat, every 10 s: wake workers for what is due now or before the next tick."""
    return {"dispatched": dispatch.wake_for_pending()}


@shared_task
def retry_failed_withdrawals() -> dict[str, int]:
    """Beat, every 60 s: wake workers for failed withdrawals that are due again."""
    return {"dispatched": dispatch.wake_for_retries()}


@shared_task
def resolve_unknown_withdrawals() -> dict[str, int]:
    """Beat, every 10 s: find out what became of unknown outcomes."""
    return {"checked": sweeps.resolve_unknown()}


# Nothing depends on it, and a list is long: it has more time than the sweeps.
@shared_task(soft_time_limit=600, time_limit=660)
def reconcile_bank() -> dict[str, int]:
    """Beat, every 10 min: once a day, compare the books with the bank's list."""
    return {"differences": reconciliation.reconcile_when_due()}


@shared_task
def drain_pending_withdrawals() -> dict[str, int]:
    """Pay what is due, and what becomes due within one tick, at its time."""
    return {"claimed": sweeps.pay_pending()}


@shared_task
def drain_retryable_withdrawals() -> dict[str, int]:
    """Try again what failed and is due for it."""
    return {"claimed": sweeps.pay_retries()}


@shared_task
def process_single_withdrawal(transaction_id: int) -> dict[str, Any]:
    """Make sure that one withdrawal is paid if it is due; say how it stands then."""
    status = sweeps.execute_single(transaction_id)
    return {"transaction_id": transaction_id, "status": status}

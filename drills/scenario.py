"""The fixed scenario that is interrupted at every event, and how it goes on.

A client deposits, schedules and cancels; workers pay, retry and look up. After the
interruption nothing is repaired: the client repeats unanswered requests with the same
keys, and the normal sweeps run.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import close_old_connections
from django.db.models import Min

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.payouts import sweeps
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.utils.bank.interface import Bank
from wallets.utils.database.transactions import database_now

logger = logging.getLogger(__name__)

DEPOSIT = 1000
AMOUNTS = {"first": 300, "too_much": 5000, "second": 200, "cancelled": 50}
SETTLE_SECONDS = 40.0


@dataclass(frozen=True)
class Plan:
    """What the client wants: the keys and times of its requests."""

    wallet_uuid: uuid.UUID
    now: datetime
    deposit_key: uuid.UUID = field(default_factory=uuid.uuid4)
    keys: dict[str, uuid.UUID] = field(
        default_factory=lambda: {name: uuid.uuid4() for name in AMOUNTS}
    )

    def deposit(self) -> None:
        WalletService.deposit(self.wallet_uuid, DEPOSIT, self.deposit_key)

    def schedule(self, name: str) -> Transaction:
        """Schedule some for a moment ago, as if an hour ago; one to be cancelled."""
        when = self.now + timedelta(hours=name == "cancelled")
        return WithdrawalService.schedule(
            self.wallet_uuid,
            AMOUNTS[name],
            when,
            self.keys[name],
            now=self.now - timedelta(hours=1),
        )

    def cancel(self) -> None:
        WithdrawalService.cancel(self.schedule("cancelled").pk)

    def transactions(self) -> list[Transaction]:
        """Return all its deposits and withdrawals that exist."""
        rows = Transaction.objects.filter(wallet__uuid=self.wallet_uuid)
        return list(rows.select_related("wallet").order_by("pk"))


def live(plan: Plan, bank: Bank) -> None:
    """Run the scenario. A failing step is a failed request or task; others follow."""
    steps: list[Callable[[], object]] = [
        plan.deposit,
        lambda: plan.schedule("first"),
        lambda: plan.schedule("too_much"),
        plan.cancel,
        lambda: sweeps.pay_pending(bank=bank),
        lambda: sweeps.execute_single(plan.schedule("second").pk, bank=bank),
        lambda: sweeps.pay_retries(bank=bank),
        lambda: sweeps.resolve_unknown(bank=bank),
        lambda: time.sleep(2 * settings.WITHDRAWAL_CHECK_BASE),
        lambda: sweeps.pay_retries(bank=bank),
        lambda: sweeps.resolve_unknown(bank=bank),
    ]
    for step in steps:
        _run(step)


def _run(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:
        logger.exception("a step failed")
    # As Django between requests and Celery between tasks.
    close_old_connections()


def go_on(plan: Plan, bank: Bank) -> list[str]:
    """Repeat the client's requests, then sweep until all is settled.

    Returns what was never done, as sentences.
    """
    plan.deposit()
    for name in ("first", "too_much", "second"):
        plan.schedule(name)
    plan.cancel()
    began, lease = time.monotonic(), settings.WITHDRAWAL_LEASE
    try:
        while (passed := time.monotonic() - began) < SETTLE_SECONDS:
            # A sender that is too late for its lease sends nothing. On a slow machine a
            # bank without look-up would never be called with short times.
            settings.WITHDRAWAL_LEASE = max(lease, passed / 4)
            sweeps.pay_pending(bank=bank)
            sweeps.pay_retries(bank=bank)
            sweeps.resolve_unknown(bank=bank)
            wait = _until_next()
            if wait is None:
                return []
            time.sleep(max(0.0, min(wait, SETTLE_SECONDS)))
    finally:
        settings.WITHDRAWAL_LEASE = lease
    return [
        f"not settled after {SETTLE_SECONDS:g} s: attempt {attempt}, sent"
        f" {attempt.sends} times, {attempt.checks} checks, {attempt.answer!r}"
        for attempt in Attempt.objects.filter(open=True)
    ] or [f"not settled after {SETTLE_SECONDS:g} s"]


def _until_next() -> float | None:
    """Seconds until there is something to do; None when all is settled."""
    # All except the cancelled one, which is due in an hour, because a clock may be set
    # back.
    soon = database_now() + timedelta(minutes=10)
    pending = Transaction.objects.filter(
        status=Transaction.Status.PENDING, scheduled_for__lte=soon
    )
    retryable = Transaction.objects.filter(
        status=Transaction.Status.FAILED, final=False
    )
    unknown = Attempt.objects.filter(open=True)
    moments = [
        rows.aggregate(moment=Min(column))["moment"]
        for rows, column in (
            (pending, "scheduled_for"),
            (retryable, "next_attempt_at"),
            (unknown, "next_check_at"),
        )
    ]
    known = [moment for moment in moments if moment is not None]
    if not known:
        return None
    return (min(known) - database_now()).total_seconds()

"""The fixed scenario that is interrupted at every event, and how it goes on.

A client deposits, schedules and cancels, also what has failed and waits for a retry;
workers pay, retry and look up; an operator records a payment that the ledger does not
have. After the interruption nothing is repaired: client and operator repeat unanswered
requests with the same keys, and the normal sweeps run.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import OperationalError, close_old_connections
from django.db.models import Min

from wallets.errors import IdempotencyKeyReused
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.operations import record
from wallets.services.payouts import sweeps
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import references_of_key
from wallets.utils.bank.interface import Bank
from wallets.utils.database.transactions import database_now

logger = logging.getLogger(__name__)

DEPOSIT = 1000
AMOUNTS = {
    **{"first": 300, "too_much": 5000, "second": 200},
    **{"cancelled": 50, "forgotten": 40},
}
SETTLE_SECONDS = 40.0
LOCKED_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """What the client wants: the keys and times of its requests."""

    wallet_uuid: uuid.UUID
    now: datetime
    deposit_key: uuid.UUID = field(default_factory=uuid.uuid4)
    keys: dict[str, uuid.UUID] = field(
        default_factory=lambda: {name: uuid.uuid4() for name in AMOUNTS}
    )
    # Of the withdrawals whose cancellation was confirmed to this process.
    cancelled_keys: set[uuid.UUID] = field(default_factory=set)

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
        self._cancel(self.schedule("cancelled"))

    def give_up(self) -> None:
        """Cancel the second one if it has failed and would be tried again."""
        second = self.schedule("second")
        second.refresh_from_db()  # a repeated request gets its first answer
        if second.status == Transaction.Status.FAILED and not second.final:
            self._cancel(second)

    def _cancel(self, withdrawal: Transaction) -> None:
        WithdrawalService.cancel(withdrawal.pk)
        self.cancelled_keys.add(withdrawal.idempotency_key)

    def forgotten(self) -> dict[str, object]:
        """Return the payment of the bank that the ledger does not have."""
        reference, *_ = references_of_key(self.keys["forgotten"], self.wallet_uuid)
        return {
            "wallet_uuid": str(self.wallet_uuid),
            "amount": AMOUNTS["forgotten"],
            "reference": str(reference),
            "paid_at": self.now.isoformat(),
        }

    def record(self) -> None:
        """Record the forgotten payment, unless that is done."""
        with suppress(IdempotencyKeyReused):
            record.record_payment(
                self.wallet_uuid,
                AMOUNTS["forgotten"],
                key=self.keys["forgotten"],
                scheduled_for=self.now,
                evidence="the bank's list",
                actor="operator drill",
            )

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
        plan.record,
        lambda: sweeps.pay_pending(bank=bank),
        lambda: sweeps.execute_single(plan.schedule("second").pk, bank=bank),
        plan.give_up,
        lambda: sweeps.pay_retries(bank=bank),
        lambda: sweeps.resolve_unknown(bank=bank),
        lambda: time.sleep(2 * settings.WITHDRAWAL_CHECK_BASE),
        lambda: sweeps.pay_retries(bank=bank),
        lambda: sweeps.resolve_unknown(bank=bank),
    ]
    for step in steps:
        run(step)


def run(step: Callable[[], object]) -> None:
    """Do a step; its failure is a failed request or task."""
    try:
        step()
    except Exception:
        logger.exception("a step failed")
    # As Django between requests and Celery between tasks.
    close_old_connections()


def go_on(plan: Plan, bank: Bank) -> list[str]:
    """Repeat the requests, then sweep until all is settled.

    Returns what was never done, as sentences.
    """
    # First the operator: a client that asks again is paid again, if nothing is recorded.
    for request in (plan.deposit, plan.record):
        repeat(request)
    for name in ("first", "too_much", "second", "forgotten"):
        repeat(partial(plan.schedule, name))
    for request in (plan.cancel, plan.give_up):
        repeat(request)
    return settle(bank)


def settle(bank: Bank) -> list[str]:
    """Sweep until all is settled. Returns what was never done, as sentences."""
    began, lease = time.monotonic(), settings.WITHDRAWAL_LEASE
    try:
        while (passed := time.monotonic() - began) < SETTLE_SECONDS:
            # A sender that is too late for its lease sends nothing. On a slow machine a
            # bank without look-up would never be called with short times.
            settings.WITHDRAWAL_LEASE = max(lease, passed / 4)
            for sweep in (
                sweeps.pay_pending,
                sweeps.pay_retries,
                sweeps.resolve_unknown,
            ):
                repeat(partial(sweep, bank=bank))
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


def repeat(request: Callable[[], object]) -> None:
    """Make a request, or run a sweep, again after each error of the database.

    So do clients and Beat. A frozen process may hold a row until the server ends its
    idle transaction.
    """
    ends = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            request()
            return
        except OperationalError:
            if time.monotonic() > ends:
                raise
            logger.info("a request is repeated")


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

"""The second story of the crash sweep: a freeze, transfers, a correction, a return, a close.

A withdrawal is rescheduled for an earlier time. It is due in a frozen wallet and waits;
it is paid when the freeze has ended. Then the bank returns the payment. Money is
transferred, a part of it taken back; a third wallet gets money, gives it back, and is
closed. Interrupted anywhere, everybody repeats the requests with the same keys.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from drills.scenario import repeat, run, settle
from wallets.models.transaction import Transaction
from wallets.services.corrections import correction
from wallets.services.operations.payment_return import record_return
from wallets.services.payouts import sweeps
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.utils.bank.interface import Bank

DEPOSIT, WITHDRAWAL, TRANSFER, CORRECTION, LENT = 1000, 300, 200, 50, 30
ACTOR = "operator drill"
NAMES = ("deposit", "withdrawal", "transfer", "correction", "lent", "returned")


@dataclass(frozen=True)
class WalletPlan:
    """What everybody wants: the wallets, and the keys of the requests."""

    wallet_uuid: uuid.UUID
    payee: uuid.UUID
    closed: uuid.UUID
    now: datetime
    keys: dict[str, uuid.UUID] = field(
        default_factory=lambda: {name: uuid.uuid4() for name in NAMES}
    )

    def deposit(self) -> None:
        WalletService.deposit(self.wallet_uuid, DEPOSIT, self.keys["deposit"])

    def schedule(self) -> Transaction:
        """Schedule the withdrawal for in an hour."""
        return WithdrawalService.schedule(
            self.wallet_uuid,
            WITHDRAWAL,
            self.now + timedelta(hours=1),
            self.keys["withdrawal"],
            now=self.now,
        )

    def reschedule(self) -> None:
        """Reschedule it for a moment ago, as if an hour ago."""
        pk = self.schedule().pk
        before = self.now - timedelta(hours=1)
        WithdrawalService.reschedule(pk, self.now, actor=ACTOR, now=before)

    def freeze(self) -> None:
        life.freeze(self.wallet_uuid, "out", reason="drill", actor=ACTOR)

    def unfreeze(self) -> None:
        life.unfreeze(self.wallet_uuid, "out", reason="drill", actor=ACTOR)

    def transfer(self) -> int:
        """Transfer; return the id of the half that is corrected."""
        made = transfer(self.wallet_uuid, self.payee, TRANSFER, self.keys["transfer"])
        return int(made.credit_id)

    def correct(self) -> None:
        """Take a part of the transfer back."""
        correction.correct(
            self.transfer(),
            CORRECTION,
            reason="drill",
            actor=ACTOR,
            idempotency_key=self.keys["correction"],
        )

    def send_back(self) -> None:
        """The bank sends the payment back, if it has paid."""
        row = self.schedule()
        row.refresh_from_db()  # a repeated request gets its first answer
        if row.status == Transaction.Status.COMPLETED:
            record_return(
                *(row.pk, WITHDRAWAL),
                return_reference="RET 1",
                reason="drill",
                actor=ACTOR,
            )

    def lend(self) -> None:
        transfer(self.wallet_uuid, self.closed, LENT, self.keys["lent"])

    def give_back(self) -> None:
        transfer(self.closed, self.wallet_uuid, LENT, self.keys["returned"])

    def close(self) -> None:
        life.close(self.closed, reason="drill", actor=ACTOR)

    @property
    def requests(self) -> list[Callable[[], object]]:
        """All requests after the freeze, in an order in which each can be repeated."""
        return [
            self.deposit,
            self.reschedule,
            self.unfreeze,
            self.transfer,
            self.correct,
            self.lend,
            self.give_back,
            self.close,
        ]


def make_plan(now: datetime) -> WalletPlan:
    """Return a plan with three new wallets."""
    first, second, third = (WalletService.create().uuid for _ in range(3))
    return WalletPlan(first, second, third, now)


def live(plan: WalletPlan, bank: Bank) -> None:
    """Run the story. A failing step is a failed request or task; others follow."""
    steps: list[Callable[[], object]] = [
        plan.deposit,
        plan.schedule,
        plan.reschedule,
        plan.freeze,
        lambda: sweeps.pay_pending(bank=bank),
        plan.unfreeze,
        plan.transfer,
        lambda: sweeps.pay_pending(bank=bank),
        plan.correct,
        plan.lend,
        plan.give_back,
        plan.close,
        plan.send_back,
        lambda: sweeps.resolve_unknown(bank=bank),
        lambda: time.sleep(2 * settings.WITHDRAWAL_CHECK_BASE),
        lambda: sweeps.pay_retries(bank=bank),
        lambda: sweeps.resolve_unknown(bank=bank),
    ]
    for step in steps:
        run(step)


def go_on(plan: WalletPlan, bank: Bank) -> list[str]:
    """Repeat the requests, then sweep until all is settled.

    Returns what was never done, as sentences.
    """
    for request in plan.requests:
        repeat(request)
    left = settle(bank)
    repeat(plan.send_back)
    return left

"""After a restored backup, the bank's payments are recorded, and none is paid twice.

The backup is a copy of all rows. The restore drill tests the engines' own backups.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.apps import apps
from django.db import connection

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.operations import pause, record
from wallets.services.payouts import claiming, drain, resolver
from wallets.services.wallet import WalletService
from wallets.services.withdrawals.schedule import ScheduleReceipt
from wallets.tests import marks
from wallets.tests.base import OSCAR, CommittingTestCase
from wallets.tests.builders import schedule_receipt
from wallets.tests.fakes import ABLE, BARE, DEDUPES_ONLY, LOOKS_UP_ONLY, FakeBank
from wallets.utils.bank.interface import Abilities, Payment
from wallets.utils.database import append_only

STATEMENT = "the bank's list"


class Backup:
    """A copy of all rows of the app."""

    def __init__(self) -> None:
        self._models = list(apps.get_app_config("wallets").get_models())
        self._rows: dict[Any, list[dict[str, Any]]] = {
            model: list(model._default_manager.order_by("pk").values())
            for model in self._models
        }

    def restore(self) -> None:
        append_only.remove(connection)
        try:
            with connection.constraint_checks_disabled():
                for model in reversed(self._models):
                    model._default_manager.all()._raw_delete("default")
                for model, rows in self._rows.items():
                    model._default_manager.bulk_create(model(**row) for row in rows)
        finally:
            append_only.install(connection)


class RestoredBackupTest(CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.keys = {name: uuid.uuid4() for name in ("paid", "lost", "by_reference")}

    def ask(self, name: str, wallet: uuid.UUID, amount: int) -> ScheduleReceipt:
        return schedule_receipt(
            wallet, amount, self.after(60), self.keys[name], now=self.now
        )

    def drain(self) -> int:
        return drain.Drain(
            claiming.find_due, bank=self.bank, seconds=1, now=lambda: self.after(120)
        ).run()

    def payment(self, amount: int) -> Payment:
        (found,) = [each for each in self.bank.paid if each.amount == amount]
        return found

    def test_pays_nothing_twice_at_a_bare_bank(self):
        self.live_and_restore(BARE)

    @marks.slow
    def test_pays_nothing_twice_at_a_bank_that_dedupes(self):
        self.live_and_restore(DEDUPES_ONLY)

    @marks.slow
    def test_pays_nothing_twice_at_a_bank_that_looks_up(self):
        self.live_and_restore(LOOKS_UP_ONLY)

    @marks.slow
    def test_pays_nothing_twice_at_an_able_bank(self):
        self.live_and_restore(ABLE)

    def live_and_restore(self, abilities: Abilities) -> None:
        self.bank = FakeBank(abilities)
        self.deposit(1000)
        self.ask("paid", self.alice.uuid, 100)
        backup = Backup()

        # After the backup: a wallet, deposits, and withdrawals, all paid.
        new = WalletService.create().uuid
        deposit_key = uuid.uuid4()
        WalletService.deposit(new, 500, deposit_key)
        self.ask("lost", self.alice.uuid, 200)
        self.ask("by_reference", new, 300)
        self.assertEqual(self.drain(), 3)
        self.assertEqual(len(self.bank.paid), 3)

        backup.restore()
        pause.pause(reason="restored backup", actor=OSCAR)
        self.assertEqual(self.drain(), 0)
        self.tell(new, deposit_key)
        pause.resume(actor=OSCAR)

        # Clients without an answer repeat their requests, each with its key.
        for name, wallet, amount in (
            ("paid", self.alice.uuid, 100),
            ("lost", self.alice.uuid, 200),
            ("by_reference", new, 300),
        ):
            self.assertTrue(self.ask(name, wallet, amount).replayed, name)
        self.drain()
        resolver.resolve_due(bank=self.bank, limit=9, now=self.after(9999))
        self.assertEqual(len(self.bank.paid), 3)
        self.assertEqual(len(self.bank.requests), 3)
        self.assertEqual(
            set(Attempt.objects.values_list("reference", flat=True)),
            set(self.bank.paid_references()),
        )
        self.assert_money(self.alice, balance=700)
        self.assert_money(Wallet.objects.get(uuid=new), balance=200)
        self.assertEqual(list(ledger_audit.verify()), [])

    def tell(self, new: uuid.UUID, deposit_key: uuid.UUID) -> None:
        """Do what the runbook says, and repeat the client's deposit."""
        words = {"evidence": STATEMENT, "actor": OSCAR}
        pending = Transaction.objects.get(status="PENDING")
        record.record_paid(pending.pk, reference=self.payment(100).reference, **words)
        # The key of one withdrawal is known; of the other one only the bank's list.
        record.record_payment(self.alice.uuid, 200, key=self.keys["lost"], **words)
        with self.assertRaises(Wallet.DoesNotExist):
            record.record_payment(new, 300, key=uuid.uuid4(), **words)
        WalletService.create(wallet_uuid=new)
        WalletService.deposit(new, 500, deposit_key)
        reference = self.payment(300).reference
        record.record_payment(new, 300, reference=reference, **words)

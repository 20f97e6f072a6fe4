"""`verify_ledger` names what is wrong with names and lives of wallets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.ledger import ledger_audit
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.tests import marks
from wallets.tests.base import END_OF_TIME, OSCAR, WalletTestCase
from wallets.tests.raw import insert, rules_off, update


class WalletAuditTest(WalletTestCase):
    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.deposit(5)
        self.due = self.due_withdrawal(5)
        WalletService.change(self.bob.uuid, {"reference": "bob"})
        life.freeze(self.bob.uuid, "in", reason="why", actor=OSCAR)

    def findings(self) -> set[str]:
        found = ledger_audit.verify(now=END_OF_TIME)
        return {one.check for one in found}

    def test_finds_nothing_wrong_with_what_the_services_wrote(self) -> None:
        self.assertEqual(self.findings(), set())

    @marks.slow
    def test_finds_each_damage(self) -> None:
        alice, bob = self.alice.pk, self.bob.pk
        damages: dict[str, Callable[[], Any]] = {
            "closed_is_empty": lambda: update(Wallet, alice, {"closed": True}),
            "closed_has_ended": lambda: update(
                Wallet, alice, {"closed": True, "balance": 0}
            ),
            "waiting_is_known": lambda: update(
                Transaction, self.due.pk, {"waits_for_wallet": True}
            ),
            "currency": lambda: update(Wallet, bob, {"currency": "ZZZ"}),
            "change_count": lambda: update(Wallet, bob, {"change_count": 3}),
            "last_change": lambda: update(Wallet, bob, {"reference": "rob"}),
            "change": lambda: self.insert_change(before='{"state":"closed"}'),
        }
        for check, damage in damages.items():
            with self.subTest(check):
                with rules_off(Wallet, Transaction):
                    damage()
                self.assertIn(check, self.findings())

    def test_finds_nothing_wrong_with_gold_of_an_earlier_release(self) -> None:
        with rules_off(Wallet, Transaction):
            update(Wallet, self.bob.pk, {"currency": "XAU"})
        self.assertEqual(self.findings(), set())

    def test_goes_on_after_a_change_that_cannot_be_read(self) -> None:
        self.insert_change(before="no JSON")
        self.assertIn("change", self.findings())

    def test_finds_a_history_that_is_lost(self) -> None:
        update(Wallet, self.alice.pk, {"change_count": 1})
        self.assertEqual(self.findings(), {"change_count"})

    def insert_change(self, **columns: Any) -> None:
        row = {
            "wallet": self.bob.pk,
            "sequence": 9,
            "event": "changed",
            "before": "{}",
            "after": "{}",
            "actor": "nobody",
            "reason": "",
            "created_at": self.now,
        }
        insert(WalletChange, row | columns)

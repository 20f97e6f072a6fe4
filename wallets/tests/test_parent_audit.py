"""`verify_ledger` names each row that is missing although others refer to it."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import ForeignKey, Model, Q

from wallets.models.attempt import Attempt
from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.corrections.correction import correct
from wallets.services.ledger.finding import Finding
from wallets.services.ledger.ledger_audit import verify
from wallets.services.operations.alarm import raise_alarm
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import END_OF_TIME, OSCAR, WalletTestCase
from wallets.tests.raw import execute, rules_off


class MissingRowTest(WalletTestCase):
    """As after a restore with the checks off, or by SQLite's own shell."""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = self.deposit(100), self.deposit(20)
        self.paid = self.due_withdrawal(30)
        WithdrawalService.execute(self.paid.pk, bank=self.bank, now=self.now)

    def missing(self) -> set[str]:
        """Return the names of the missing rows, as the whole audit finds them."""
        found = verify(now=END_OF_TIME)
        return {one.row for one in found if one.check == "missing_row"}

    def lose(self, row: Model) -> None:
        with rules_off():
            execute(f"DELETE FROM {row._meta.db_table} WHERE id = {row.pk}")

    def test_is_found_of_no_right_books(self) -> None:
        transfer(self.alice.uuid, self.bob.uuid, 5)
        correct(self.first.pk, 5, reason="a mistake", actor=OSCAR)
        WalletService.change(self.bob.uuid, {"reference": "bob"})
        raise_alarm("no_statement", subject="the bank's list", detail="of no row")
        self.assertEqual(list(verify(now=END_OF_TIME)), [])

    def test_of_a_wallet_with_money_is_named(self) -> None:
        self.lose(self.alice)
        self.assertEqual(self.missing(), {f"wallet {self.alice.pk}"})

    def test_of_a_wallet_between_others_is_named(self) -> None:
        self.deposit(7, WalletService.create())
        self.deposit(7, self.bob)
        self.lose(self.bob)
        self.assertEqual(self.missing(), {f"wallet {self.bob.pk}"})

    def test_of_every_wallet_is_named(self) -> None:
        self.lose(self.alice)
        self.lose(self.bob)
        self.assertEqual(self.missing(), {f"wallet {self.alice.pk}"})

    def test_of_a_deposit_is_named_once_with_its_rows(self) -> None:
        self.lose(self.first)
        (found,) = verify(now=END_OF_TIME)
        movement = Movement.objects.get(transaction_id=self.first.pk)
        self.assertEqual(
            found,
            Finding(
                "missing_row",
                f"transaction {self.first.pk}",
                "1 of the movements name it as their transaction, the first is"
                f" movement {movement.pk}",
            ),
        )

    def test_of_a_withdrawal_is_named(self) -> None:
        for row in (self.paid, self.due_withdrawal(1)):
            with self.subTest(row.status):
                self.lose(row)
                self.assertIn(f"transaction {row.pk}", self.missing())


class EveryKeyTest(WalletTestCase):
    """Each foreign key of the application, whichever model gets the next one."""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def test_is_verified(self) -> None:
        first = self.deposit(100)
        WithdrawalService.execute(
            self.due_withdrawal(30).pk, bank=self.bank, now=self.now
        )
        moved = transfer(self.alice.uuid, self.bob.uuid, 5)
        correct(first.pk, 5, reason="a mistake", actor=OSCAR)
        correct(moved.debit_id, 5, reason="a mistake", actor=OSCAR)
        WalletService.change(self.bob.uuid, {"reference": "bob"})
        lost = (Wallet, Transaction)
        with rules_off():
            for model in lost:
                execute(f"DELETE FROM {model._meta.db_table}")
        details = [
            one.detail for one in verify(now=END_OF_TIME) if one.check == "missing_row"
        ]
        for model in (
            Attempt,
            Correction,
            Movement,
            Transfer,
            Transition,
            WalletChange,
        ):
            for field in _keys(model):
                known = Q(**{f"{field.name}__isnull": False})
                if field.related_model in lost and model.objects.filter(known):
                    words = f"of the {model._meta.model_name}s name it as their {field.name},"
                    with self.subTest(words):
                        self.assertTrue(any(words in one for one in details), details)

    def test_has_one_row_at_most(self) -> None:
        """The audit compares one column with one."""
        for model in apps.get_app_config("wallets").get_models():
            for field in _keys(model):
                self.assertTrue(field.target_field.unique, field)


def _keys(model: type[Model]) -> list[ForeignKey[Any, Any]]:
    return [one for one in model._meta.concrete_fields if isinstance(one, ForeignKey)]

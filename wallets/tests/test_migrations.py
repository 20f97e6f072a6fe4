"""Migrations that change a table with money, forwards and backwards."""

from __future__ import annotations

from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection

from wallets.models.ledger import Movement
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase
from wallets.tests.marks import slow
from wallets.tests.raw import a_hold, execute, insert
from wallets.utils.database import append_only


def migrate(*target: str) -> None:
    call_command("migrate", "wallets", *target, verbosity=0)


@slow
class MovementInItsTransactionsWalletTest(CommittingTestCase):
    def tearDown(self) -> None:
        migrate()
        super().tearDown()

    def assert_history_stands(self) -> None:
        """Check that every table that existed before has its triggers."""
        for table in ("wallets_movement", "wallets_transition"):
            for change in (f"DELETE FROM {table}", f"UPDATE {table} SET id = id"):
                with self.subTest(change), self.assertRaises(DatabaseError) as got:
                    execute(change)
                self.assertIn(f"{table} is append-only", str(got.exception))

    def test_goes_there_and_back_with_money_in_the_books(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        for target in ("0008", "0009"):
            migrate(target)
            with self.subTest(target):
                self.assert_history_stands()
                self.deposit(1)
        self.assert_money(self.alice, balance=602)

    def test_stops_before_it_changes_anything_at_a_movement_that_breaks_the_rule(self):
        withdrawal = self.due_withdrawal(400)
        migrate("0008")
        pk = insert(Movement, a_hold(self.bob.pk, withdrawal.pk, self.now))
        try:
            with self.assertRaisesMessage(IntegrityError, f"movement {pk} is not in"):
                migrate("0009")
            self.assert_history_stands()
        finally:
            append_only.remove(connection)
            execute(f"DELETE FROM wallets_movement WHERE id = {pk}")
            append_only.install(connection)

"""Migrations that change a table with money, forwards and backwards."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection

from wallets.models.ledger import Movement
from wallets.models.wallet import Wallet
from wallets.services.corrections.correction import correct
from wallets.services.operations import safeguards
from wallets.services.operations.payment_return import record_return
from wallets.services.transfers.transfer import transfer
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR, CommittingTestCase
from wallets.tests.marks import slow
from wallets.tests.raw import a_hold, execute, insert
from wallets.utils.database import append_only


def migrate(*target: str) -> None:
    """Migrate our application to the target; without one, every application.

    Applications that depend on ours go back with it.
    """
    where = ("wallets", *target) if target else ()
    call_command("migrate", *where, verbosity=0)


class MigrationCase(CommittingTestCase):
    """Ends with the newest release, wherever the test has gone."""

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


@slow
class MovementInItsTransactionsWalletTest(MigrationCase):
    def test_goes_there_and_back_with_money_in_the_books(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        for target in ("0008", "0009", "0015"):
            migrate(target)
            with self.subTest(target):
                self.assert_history_stands()
        migrate()
        self.deposit(1)
        self.assert_money(self.alice, balance=601)

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


@slow
class WalletNameAndLifeTest(CommittingTestCase):
    """The previous release writes rows without the new columns."""

    def tearDown(self) -> None:
        migrate()
        super().tearDown()

    def test_keeps_what_is_there_and_gives_it_the_currency_of_the_settings(self):
        self.deposit(1000)
        migrate("0015")
        migrate()
        self.alice.refresh_from_db()
        self.assertEqual(self.alice.currency, settings.DEFAULT_CURRENCY)
        self.assertEqual(self.alice.state, Wallet.State.ACTIVE)
        self.assertIsNone(self.alice.reference)
        self.assert_money(self.alice, balance=1000)
        self.assertEqual(append_only.missing(connection), [])

    def test_lets_the_previous_release_create_wallets(self):
        columns = {
            "uuid": uuid.uuid4(),
            "balance": 0,
            "held": 0,
            "movement_count": 0,
            "created_at": self.now,
            "updated_at": self.now,
        }
        made = Wallet.objects.get(pk=insert(Wallet, columns))
        self.assertEqual(made.currency, settings.DEFAULT_CURRENCY)
        self.assertEqual((made.state, made.metadata), (Wallet.State.ACTIVE, ""))


@slow
class TransfersAndCorrectionsTest(CommittingTestCase):
    def tearDown(self) -> None:
        migrate()
        super().tearDown()

    def test_are_not_lost_by_going_back_to_where_corrections_are_unknown(self):
        made = self.deposit(5)
        correct(made.pk, 5, reason="typed wrongly", actor=OSCAR)
        with self.assertRaisesMessage(IntegrityError, "there are corrections"):
            migrate("0017")
        migrate()
        self.assert_money(self.alice, balance=0)

    def test_are_not_lost_by_going_back_to_where_they_are_unknown(self):
        self.deposit(5)
        transfer(self.alice.uuid, self.bob.uuid, 5)
        with self.assertRaisesMessage(IntegrityError, "there are transfers"):
            migrate("0016")
        migrate()
        self.assert_money(self.bob, balance=5)


@slow
class RescheduleTest(MigrationCase):
    def test_goes_there_and_back_with_withdrawals_in_the_books(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        migrate("0019")
        self.assert_history_stands()
        migrate()
        self.assertEqual(append_only.missing(connection), [])
        WithdrawalService.reschedule(withdrawal.pk, self.after(600), now=self.now)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.first_scheduled_for, self.now)

    def test_is_not_lost_by_going_back_to_where_it_is_unknown(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        WithdrawalService.reschedule(withdrawal.pk, self.after(600), now=self.now)
        with self.assertRaisesMessage(IntegrityError, "withdrawals were rescheduled"):
            migrate("0019")
        self.assert_history_stands()
        migrate()
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.first_scheduled_for, self.now)


@slow
class CheaperRowsTest(MigrationCase):
    def test_go_there_and_back_with_money_in_the_books(self):
        self.deposit(10)
        made = transfer(self.alice.uuid, self.bob.uuid, 4)
        correct(made.debit_id, 1, reason="typed wrongly", actor=OSCAR)
        row = self.due_withdrawal(5)
        WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)
        told = {"return_reference": "1", "reason": "closed", "actor": OSCAR}
        record_return(row.pk, 5, **told)
        migrate("0021")
        self.assert_history_stands()
        migrate()
        self.assertEqual([*safeguards.lost(connection)], [])
        transfer(self.alice.uuid, self.bob.uuid, 1)
        self.assert_money(self.alice, balance=6)


@slow
class ReturnsTest(MigrationCase):
    def test_go_there_and_back_with_money_in_the_books(self):
        made = self.deposit(10)
        correct(made.pk, 3, reason="typed wrongly", actor=OSCAR)
        self.due_withdrawal(1)
        migrate("0020")
        self.assert_history_stands()
        migrate()
        self.assertEqual(append_only.missing(connection), [])
        self.assert_money(self.alice, balance=7)

    def test_are_not_lost_by_going_back_to_where_they_are_unknown(self):
        self.deposit(5)
        row = self.due_withdrawal(5)
        WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)
        told = {"return_reference": "1", "reason": "closed", "actor": OSCAR}
        record_return(row.pk, 5, **told)
        with self.assertRaisesMessage(IntegrityError, "there are returns"):
            migrate("0020")
        self.assertEqual(append_only.missing(connection), [])
        migrate()
        self.assert_money(self.alice, balance=5)


@slow
class TenantsTest(MigrationCase):
    def tearDown(self) -> None:
        Wallet.objects.filter(uuid=self.alice.uuid).update(tenant="")
        super().tearDown()

    def test_go_there_and_back_with_money_in_the_books(self):
        made = self.deposit(1000)
        migrate("0018")
        migrate()
        made.refresh_from_db()
        self.alice.refresh_from_db()
        self.assertEqual((made.tenant, made.actor), ("", "client"))
        self.assertEqual(self.alice.tenant, "")
        self.assert_money(self.alice, balance=1000)
        self.assertEqual(append_only.missing(connection), [])

    def test_are_not_lost_by_going_back_to_where_they_are_unknown(self):
        self.deposit(1000)
        self.due_withdrawal(1)
        Wallet.objects.filter(uuid=self.alice.uuid).update(tenant="acme")
        with self.assertRaisesMessage(IntegrityError, "there are tenants"):
            migrate("0018")
        self.assert_history_stands()
        known = Wallet.objects.filter(pk=self.alice.pk)
        self.assertEqual(known.values_list("tenant", flat=True).get(), "acme")


@slow
class CallersTest(MigrationCase):
    """A withdrawal from a tenant's wallet of an earlier release."""

    def tearDown(self) -> None:
        Wallet.objects.filter(uuid=self.alice.uuid).update(tenant="")
        super().tearDown()

    def test_is_marked_and_goes_there_and_back(self):
        Wallet.objects.filter(uuid=self.alice.uuid).update(tenant="acme")
        made, others = self.deposit(1000), self.due_withdrawal(1, self.bob)
        withdrawal = self.due_withdrawal(1)
        migrate("0021")
        self.assert_history_stands()
        migrate()
        self.assertEqual(append_only.missing(connection), [])
        for row, marked in ((withdrawal, True), (made, False), (others, False)):
            row.refresh_from_db()
            self.assertEqual(row.from_tenants_wallet, marked, row)
        self.alice.refresh_from_db()
        self.assertEqual(self.alice.created_by, "client")

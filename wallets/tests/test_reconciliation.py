"""Damaged ledgers: each kind of damage is found, and its row is named."""

from __future__ import annotations

import io
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, WalletTestCase
from wallets.tests.fakes import Does
from wallets.tests.raw import insert, update


class Damage:
    """A wallet with one row of each kind, and functions that damage it."""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.first = self.deposit(1000)
        self.paid = self.execute(Does.PAY)
        self.failed = self.execute(Does.REFUSE)
        self.unknown = self.execute(Does.LOSE)
        self.pending = self.due_withdrawal(100)

    def execute(self, does: Does) -> Transaction:
        self.bank.script.append(does)
        return WithdrawalService.execute(
            self.due_withdrawal(100).pk, bank=self.bank, now=self.now
        )

    def move(self, **changes: Any) -> int:
        """Insert a movement by SQL, by default a hold of the pending withdrawal."""
        last = self.alice.movements.latest("sequence")
        return insert(
            Movement,
            {
                "wallet": self.alice.pk,
                "transaction": self.pending.pk,
                "attempt_number": 1,
                "kind": "hold",
                "leg": "open",
                "from_account": "wallet",
                "to_account": "in_flight",
                "amount": 100,
                "sequence": last.sequence + 1,
                "balance_after": last.balance_after - 100,
                "created_at": self.now,
            }
            | changes,
        )

    def deposit_by_hand(self, **changes: Any) -> int:
        last = self.alice.movements.latest("sequence")
        deposit = insert(
            Transaction,
            {
                "wallet": self.alice.pk,
                "transaction_type": "DEPOSIT",
                "amount": 100,
                "status": "COMPLETED",
                "idempotency_key": self.alice.uuid,
                "executed_at": self.now,
                "retry_count": 0,
                "final": False,
                "needs_review": False,
                "failure_code": "",
                "third_party_response": "",
                "version": 0,
                "created_at": self.now,
                "updated_at": self.now,
            },
        )
        return self.move(
            **{
                "transaction": deposit,
                "attempt_number": 0,
                "kind": "deposit",
                "from_account": "outside",
                "to_account": "wallet",
                "balance_after": last.balance_after + 100,
            }
            | changes
        )


class VerifyTest(Damage, WalletTestCase):
    def found(self) -> dict[str, list[str]]:
        """Return the named rows by kind of damage."""
        found: dict[str, list[str]] = {}
        for finding in ledger_audit.verify():
            found.setdefault(finding.check, []).append(finding.row)
        return found

    def test_finds_nothing_in_right_books(self):
        self.assertEqual(self.found(), {})

    def test_finds_a_balance_that_its_movements_do_not_explain(self):
        name = f"wallet {self.alice.uuid}"
        for column, check in (
            ("balance", "stored_balance"),
            ("held", "stored_held"),
            ("movement_count", "movement_count"),
        ):
            before = getattr(Wallet.objects.get(pk=self.alice.pk), column)
            update(Wallet, self.alice.pk, {column: before + 1})
            with self.subTest(column):
                self.assertEqual(self.found(), {check: [name]})
            update(Wallet, self.alice.pk, {column: before})

    def test_finds_money_in_a_wallet_without_movements(self):
        update(Wallet, self.bob.pk, {"balance": 5})
        self.assertEqual(self.found(), {"stored_balance": [f"wallet {self.bob.uuid}"]})

    def test_finds_a_gap_in_a_statement(self):
        count = self.alice.movements.count()
        pk = self.deposit_by_hand(sequence=count + 2)
        found = self.found()
        self.assertEqual(found["statement_gap"], [f"movement {pk}"])

    def test_finds_a_wrong_running_balance(self):
        pk = self.deposit_by_hand(balance_after=7)
        self.assertEqual(self.found()["running_balance"], [f"movement {pk}"])

    def test_finds_a_movement_that_moved_another_amount(self):
        pk = self.deposit_by_hand(amount=99)
        self.assertEqual(self.found()["movement_amount"], [f"movement {pk}"])

    def test_finds_a_movement_in_another_wallet(self):
        """Only a database with disabled rules accepts it."""
        with connection.constraint_checks_disabled(), transaction.atomic():
            pk = self.move(wallet=self.bob.pk, sequence=1, balance_after=0)
            self.assertEqual(self.found()["movement_wallet"], [f"movement {pk}"])
            transaction.set_rollback(True)

    def test_finds_held_money_of_a_withdrawal_that_is_not_under_way(self):
        self.move()
        self.assertIn("in_flight", self.found())

    def test_finds_a_withdrawal_under_way_without_held_money(self):
        update(Transaction, self.pending.pk, {"status": "PROCESSING"})
        found = self.found()
        self.assertIn("in_flight", found)
        self.assertEqual(found["open_attempt"], [f"transaction {self.pending.pk}"])

    def test_finds_an_open_attempt_of_a_withdrawal_that_has_ended(self):
        columns = {"status": "FAILED", "unknown_since": None}
        update(Transaction, self.unknown.pk, columns)
        found = self.found()
        self.assertEqual(found["open_attempt"], [f"transaction {self.unknown.pk}"])

    def test_finds_an_attempt_whose_money_ended_otherwise(self):
        attempt = self.failed.attempts.get()
        update(Attempt, attempt.pk, {"outcome": "accepted"})
        found = self.found()
        self.assertEqual(found["attempt_movements"], [f"attempt {attempt}"])
        self.assertEqual(found["completed_is_paid"], [f"transaction {self.failed.pk}"])

    def test_finds_an_attempt_without_a_hold(self):
        attempt = self.unknown.attempts.get()
        update(Attempt, attempt.pk, {"number": 7})
        self.assertIn(f"attempt {self.unknown.pk}/7", self.found()["attempt_movements"])

    def test_finds_a_completed_withdrawal_that_was_not_paid(self):
        columns = {"status": "COMPLETED", "executed_at": self.now}
        update(Transaction, self.failed.pk, columns)
        name = f"transaction {self.failed.pk}"
        self.assertEqual(
            self.found(), {"completed_is_paid": [name], "last_transition": [name]}
        )

    def test_finds_a_deposit_without_money(self):
        row = {"transaction_type": "DEPOSIT", "scheduled_for": None}
        row |= {"status": "COMPLETED", "executed_at": self.now}
        update(Transaction, self.pending.pk, row)
        name = f"transaction {self.pending.pk}"
        self.assertEqual(
            self.found(), {"deposit_movement": [name], "unknown_transition": [name]}
        )

    def test_finds_a_hold_without_an_attempt(self):
        """Two errors that make the sums right: a hold without an attempt."""
        self.move()
        self.alice.refresh_from_db()
        update(
            Wallet,
            self.alice.pk,
            {
                "balance": self.alice.balance - 100,
                "held": self.alice.held + 100,
                "movement_count": self.alice.movement_count + 1,
            },
        )
        found = self.found()
        self.assertIn("in_flight", found)
        self.assertEqual(
            found["movement_attempt"],
            [f"movement {self.alice.movements.latest('pk').pk}"],
        )

    @marks.slow
    def test_finds_the_wrong_wallet_among_many(self) -> None:
        """Wallets are read by the hundred, but each statement is checked alone."""
        others = Wallet.objects.bulk_create([Wallet() for _ in range(1200)])
        for place in (0, 498, 499, 500, 1199):
            self.deposit(place + 1, Wallet.objects.get(uuid=others[place].uuid))
        Wallet.objects.filter(uuid=others[499].uuid).update(balance=1)
        with CaptureQueriesContext(connection) as ran:
            self.assertEqual(
                self.found(), {"stored_balance": [f"wallet {others[499].uuid}"]}
            )
        self.assertLess(len(ran), 100)

    def test_shows_how_far_it_is(self):
        seen: list[int] = []
        list(ledger_audit.verify(seen.append))
        self.assertEqual(seen, [1, 2])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class VerifyLedgerTest(Damage, CommittingTestCase):
    """The command, which opens a snapshot and so needs real commits."""

    def verify_ledger(self, *arguments: str, stderr=None) -> str:
        out = io.StringIO()
        call_command(
            "verify_ledger", *arguments, stdout=out, stderr=stderr or io.StringIO()
        )
        return out.getvalue()

    @marks.slow
    def test_says_that_the_books_are_right(self):
        err = io.StringIO()
        self.assertEqual(
            self.verify_ledger(stderr=err), "The books are right: 2 wallets.\n"
        )
        self.assertEqual(err.getvalue(), "", "no progress where nobody watches")

    @marks.slow
    def test_names_the_rows_that_are_wrong_and_fails(self):
        update(Wallet, self.bob.pk, {"balance": 5})
        out = io.StringIO()
        with self.assertRaises(CommandError) as got:
            call_command("verify_ledger", stdout=out)
        self.assertEqual(got.exception.returncode, 1)
        self.assertIn("1 finding", str(got.exception))
        self.assertEqual(
            out.getvalue(),
            f"stored_balance: wallet {self.bob.uuid}: stored 5, movements say 0\n",
        )

    @marks.slow
    def test_stops_after_so_many(self):
        for wallet in (self.alice, self.bob):
            update(Wallet, wallet.pk, {"balance": 5})
        out = io.StringIO()
        with self.assertRaises(CommandError):
            call_command("verify_ledger", "--max", "1", stdout=out)
        self.assertEqual(len(out.getvalue().splitlines()), 1)

    @marks.slow
    def test_shows_its_progress_on_a_terminal(self):
        terminal = Terminal()
        self.verify_ledger(stderr=terminal)
        shown = terminal.getvalue()
        self.assertIn("2/2 wallets", shown)
        self.assertTrue(shown.endswith("\n"), shown)

    @marks.slow
    def test_leaves_the_terminal_clean_when_it_stops_early(self):
        update(Wallet, self.bob.pk, {"balance": 5})
        terminal = Terminal()
        with self.assertRaises(CommandError):
            self.verify_ledger("--max", "1", stderr=terminal)
        shown = terminal.getvalue()
        self.assertIn("1/2 wallets", shown)
        self.assertTrue(shown.endswith("\n"), repr(shown))

"""The models alone: their defaults, properties and queries."""

from __future__ import annotations

import uuid
from datetime import timedelta
from unittest import skipIf

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from wallets.models.ledger import Movement
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.payouts import claiming
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.raw import execute

Status, Type = Transaction.Status, Transaction.TransactionType


class WalletModelTest(WalletTestCase):
    def test_is_created_empty_with_a_uuid(self):
        wallet = Wallet.objects.create()
        self.assertEqual(
            (wallet.balance, wallet.held, wallet.movement_count), (0, 0, 0)
        )
        self.assertIsInstance(wallet.uuid, uuid.UUID)
        self.assertLess(timezone.now() - wallet.created_at, timedelta(minutes=1))
        self.assertEqual(str(wallet), str(wallet.uuid))

    def test_has_a_uuid_of_its_own(self):
        wallets = [Wallet.objects.create() for _ in range(20)]
        self.assertEqual(len({wallet.uuid for wallet in wallets}), 20)
        with self.assertRaises(IntegrityError), transaction.atomic():
            Wallet.objects.create(uuid=wallets[0].uuid)

    def test_is_protected_by_its_history(self):
        self.deposit(5)
        with self.assertRaises(ProtectedError):
            self.alice.delete()


class MovementModelTest(WalletTestCase):
    def test_is_valid_only_in_the_wallet_of_its_transaction(self):
        movement = Movement.objects.get(transaction=self.deposit(5))
        movement.validate_constraints()
        movement.wallet = self.bob
        rule = "movement_in_its_transactions_wallet"
        with self.assertRaisesMessage(ValidationError, rule):
            movement.validate_constraints()
        movement.validate_constraints(exclude={"wallet"})


class TransactionModelTest(WalletTestCase):
    books_must_be_right = False

    def create(self, **columns) -> Transaction:
        values = {
            "wallet": self.alice,
            "transaction_type": Type.WITHDRAWAL,
            "amount": 1000,
            "scheduled_for": self.now,
        }
        return Transaction.objects.create(**values | columns)

    def test_is_created_pending_by_default(self):
        made = self.create()
        made.refresh_from_db()
        self.assertEqual((made.status, made.retry_count), (Status.PENDING, 0))
        self.assertEqual((made.final, made.needs_review), (False, False))
        self.assertIsNone(made.executed_at)
        self.assertEqual((made.third_party_response, made.failure_code), ("", ""))
        self.assertIs(made.state, State.PENDING)
        self.assertTrue(made.cancelable)

    def test_is_executed_also_when_it_was_made_directly(self):
        self.deposit(1000)
        made = self.create()
        done = WithdrawalService.execute(made.pk, bank=self.bank, now=self.now)
        self.assertEqual(done.status, Status.COMPLETED)

    def test_of_a_deposit_is_completed(self):
        made = self.create(
            transaction_type=Type.DEPOSIT,
            scheduled_for=None,
            status=Status.COMPLETED,
            executed_at=self.now,
        )
        self.assertFalse(made.cancelable)

    def test_has_an_idempotency_key_of_its_own(self):
        keys = {self.create().idempotency_key for _ in range(10)}
        self.assertEqual(len(keys), 10)
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.create(idempotency_key=keys.pop())

    def test_is_listed_newest_first(self):
        first, second = self.create(), self.create()
        self.assertEqual(list(Transaction.objects.all()), [second, first])

    def test_has_the_states_that_its_columns_make(self):
        for columns, state in (
            ({"status": "PENDING"}, State.PENDING),
            ({"status": "PROCESSING"}, State.SENDING),
            ({"status": "PROCESSING", "unknown_since": self.now}, State.UNKNOWN),
            (
                {
                    "status": "PROCESSING",
                    "unknown_since": self.now,
                    "needs_review": True,
                },
                State.NEEDS_REVIEW,
            ),
            ({"status": "COMPLETED"}, State.COMPLETED),
            ({"status": "FAILED"}, State.FAILED_RETRYABLE),
            ({"status": "FAILED", "final": True}, State.FAILED_FINAL),
            ({"status": "CANCELLED"}, State.CANCELLED),
        ):
            with self.subTest(state):
                made = Transaction(transaction_type=Type.WITHDRAWAL, **columns)
                self.assertIs(made.state, state)
                self.assertEqual(made.state.status, made.status)
                can = state in (State.PENDING, State.FAILED_RETRYABLE)
                self.assertEqual(made.cancelable, can)

    def test_finds_due_pending_withdrawals_the_earliest_first(self):
        late, early = self.create(), self.create(scheduled_for=self.after(-60))
        self.create(scheduled_for=self.after(0.000001))
        for status in (Status.PROCESSING, Status.FAILED, Status.CANCELLED):
            self.create(status=status)
        self.create(status=Status.COMPLETED, executed_at=self.now)
        self.deposit(5)
        due = Transaction.get_due_pending_withdrawals(self.now)
        self.assertEqual(list(due), [early, late])

    def test_finds_due_pending_withdrawals_by_the_clock_unless_told(self):
        made = self.create(scheduled_for=timezone.now() - timedelta(minutes=1))
        self.create(scheduled_for=timezone.now() + timedelta(minutes=1))
        self.assertEqual(list(Transaction.get_due_pending_withdrawals()), [made])

    def test_finds_failed_withdrawals_that_are_not_final(self):
        failed = [
            self.create(status=Status.FAILED, retry_count=made) for made in range(5)
        ]
        self.create(status=Status.FAILED, final=True)
        for status in (Status.PENDING, Status.PROCESSING, Status.CANCELLED):
            self.create(status=status)
        find = Transaction.get_failed_retryable_withdrawals
        self.assertCountEqual(find(max_retries=3), failed[:3])
        self.assertCountEqual(find(), failed)  # the limit may have been lowered
        self.assertCountEqual(find(max_retries=1), failed[:1])
        self.assertCountEqual(find(max_retries=0), [])

    def test_finds_failed_withdrawals_only_when_their_time_has_come(self):
        first = self.create(status=Status.FAILED, next_attempt_at=self.after(-2))
        second = self.create(status=Status.FAILED, next_attempt_at=self.now)
        self.create(status=Status.FAILED, next_attempt_at=self.after(0.000001))
        found = Transaction.get_failed_retryable_withdrawals(now=self.now)
        self.assertEqual(list(found), [first, second])


@skipIf(connection.vendor == "mysql", "a constraint cannot be dropped and rolled back")
class LaterReleaseTest(WalletTestCase):
    """After a rollback to this release, a row has a state of a later release."""

    books_must_be_right = False  # the status is unknown, and named

    def test_has_states_that_this_one_neither_selects_nor_moves(self):
        self.allow_any_status()
        self.deposit(100)
        withdrawal = self.due_withdrawal(10)
        Transaction.objects.filter(pk=withdrawal.pk).update(status="REVERSING")
        for find in (claiming.find_due, claiming.find_retryable):
            self.assertEqual(list(find(self.after(3600))), [])
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        with self.assertRaises(KeyError):
            WithdrawalService.cancel(withdrawal.pk)
        withdrawal.refresh_from_db()
        self.assertEqual((withdrawal.status, withdrawal.version), ("REVERSING", 0))
        self.assertEqual(self.bank.requests, [])
        (found,) = ledger_audit.verify()
        self.assertIn("REVERSING", found.detail)

    def allow_any_status(self) -> None:
        if connection.vendor == "sqlite":
            execute("PRAGMA ignore_check_constraints = ON")
            self.addCleanup(execute, "PRAGMA ignore_check_constraints = OFF")
        else:
            table = Transaction._meta.db_table
            execute(f"ALTER TABLE {table} DROP CONSTRAINT transaction_status_known")

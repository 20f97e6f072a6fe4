"""The commands that record a payment of the bank: review record, record_payment."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.wallet import WalletService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests.test_commands_review import HUGE, CommandTestCase
from wallets.utils import instants

WORDS = ("--evidence", "statement 7, line 3", "--by", "oscar")
KEY = uuid.UUID("550e8400-e29b-41d4-a716-446655440001")


class ReviewRecordCommandTest(CommandTestCase):
    def record(self, pk: Any, *more: Any) -> str:
        return self.run_command("review", "record", pk, *WORDS, *more)

    def test_completes_what_the_bank_has_paid(self) -> None:
        withdrawal = self.due_withdrawal(60)
        reference = reference_of(withdrawal, self.alice.uuid, 1)
        at = instants.write(self.now)
        said = self.record(withdrawal.pk, "--reference", reference, "--paid-at", at)
        self.assertIn(f"withdrawal {withdrawal.pk}: COMPLETED", said)
        self.assert_money(self.alice, balance=940)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.executed_at, self.now)
        last = withdrawal.transitions.last()
        self.assertEqual((last.actor, last.evidence), ("oscar", "statement 7, line 3"))

    def test_refuses_in_one_line(self) -> None:
        known = self.due_withdrawal(60)
        done = self.in_review()
        command = ("review", "record")
        self.assert_refused("needs_review", *command, done.pk, *WORDS)
        self.assert_refused("record_payment", *command, 7777, *WORDS)
        self.assert_refused("no id", *command, HUGE, *WORDS)
        more = (known.pk, *WORDS, "--reference")
        self.assert_refused("no UUID", *command, *more, "x")
        self.assert_refused("key leads to", *command, *more, uuid.uuid4())
        attempt = done.attempts.get()
        self.assert_refused("have this reference", *command, *more, attempt.reference)
        at = (known.pk, *WORDS, "--paid-at")
        self.assert_refused("no time", *command, *at, "yesterday")
        self.assert_refused("yet to come", *command, *at, "2099-01-01T00:00:00Z")
        self.assert_refused("required", *command, known.pk, "--by", "oscar")

    def test_says_what_to_do_about_missing_money(self) -> None:
        withdrawal = self.due_withdrawal(1001)
        self.assert_refused(
            "deposit what is missing", "review", "record", withdrawal.pk, *WORDS
        )
        self.deposit(1)
        self.record(withdrawal.pk)
        self.assert_money(self.alice, balance=0)


class RecordPaymentCommandTest(CommandTestCase):
    def enter(self, *more: Any, amount: Any = 60, wallet: Any = None) -> str:
        wallet = wallet or self.alice.uuid
        words = ("--wallet", wallet, "--amount", amount, *WORDS)
        return self.run_command("record_payment", *words, *more)

    def refused(self, reason: str, *more: Any, amount: Any = 60, wallet: Any = None):
        wallet = wallet or self.alice.uuid
        words = ("--wallet", wallet, "--amount", amount, *WORDS)
        self.assert_refused(reason, "record_payment", *words, *more)

    def test_enters_and_completes_it(self) -> None:
        planned = "2026-01-01T12:00:00Z"
        paid = "2026-01-01T12:00:03Z"
        said = self.enter("--key", KEY, "--scheduled-for", planned, "--paid-at", paid)
        made = Transaction.objects.get(idempotency_key=KEY)
        self.assertIn(f"withdrawal {made.pk}: COMPLETED, 60", said)
        self.assertEqual(instants.write(made.scheduled_for), planned)
        self.assertEqual(instants.write(made.executed_at), paid)
        self.assert_money(self.alice, balance=940)

    def test_refuses_in_one_line(self) -> None:
        self.enter("--key", KEY)
        self.refused(f"transaction {Transaction.objects.first().pk}", "--key", KEY)
        self.refused("paid again")
        self.refused("key leads to", "--key", uuid.uuid4(), "--reference", uuid.uuid4())
        self.refused("no amount", "--key", uuid.uuid4(), amount="1.5")
        self.refused("at most", "--key", uuid.uuid4(), amount=10**15 + 1)
        self.refused("deposit what is missing", "--key", uuid.uuid4(), amount=1001)

    def test_says_how_to_create_the_wallet_and_then_works(self) -> None:
        """Follow each step that the refusals name."""
        lost = uuid.uuid4()
        self.refused(f"create_wallet --uuid {lost}", "--key", KEY, wallet=lost)
        self.run_command("create_wallet", "--uuid", lost)
        self.refused("have them made again", "--key", KEY, wallet=lost)
        WalletService.deposit(lost, 100)
        self.enter("--key", KEY, wallet=lost)
        self.assert_money(Wallet.objects.get(uuid=lost), balance=40)


class CreateWalletCommandTest(CommandTestCase):
    def test_opens_an_empty_wallet(self) -> None:
        known = uuid.uuid4()
        self.assertIn(str(known), self.run_command("create_wallet", "--uuid", known))
        self.assert_money(Wallet.objects.get(uuid=known), balance=0)
        before = Wallet.objects.count()
        self.run_command("create_wallet")
        self.assertEqual(Wallet.objects.count(), before + 1)

    def test_opens_one_of_a_tenant(self) -> None:
        known = uuid.uuid4()
        self.run_command("create_wallet", "--uuid", known, "--tenant", "acme")
        self.assertEqual(Wallet.objects.get(uuid=known).tenant, "acme")
        for name in ("", " acme", "a b", "Ольга", "acme:eu", "a" * 64):
            self.assert_refused("tenant", "create_wallet", "--tenant", name)

    def test_writes_who_opens_it(self) -> None:
        for who in ((), ("--by", "oscar")):
            known = uuid.uuid4()
            self.run_command("create_wallet", "--uuid", known, *who)
            made = Wallet.objects.get(uuid=known)
            expected = "oscar" if who else "manage.py create_wallet"
            self.assertEqual(made.created_by, expected)
        self.assert_refused("who", "create_wallet", "--by", " ")

    def test_refuses_one_that_is_there(self) -> None:
        self.assert_refused("already", "create_wallet", "--uuid", self.alice.uuid)
        self.assert_money(self.alice, balance=1000)
        self.assertTrue(connection.is_usable())

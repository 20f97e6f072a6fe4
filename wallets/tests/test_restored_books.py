"""After a restored backup the bank has payments that the ledger does not have."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db import connection

from wallets.errors import IdempotencyKeyReused
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import Api
from wallets.tests.base import CommittingTestCase
from wallets.tests.fakes import ABLE, DEDUPES_ONLY, FakeBank
from wallets.utils.database import append_only


class RestoredBooksTest(Api, CommittingTestCase):
    """A repeated withdrawal that the restored ledger does not have…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.deposit(1000, self.bob)
        self.last = Transaction.objects.latest("pk").pk
        self.wallets = list(Wallet.objects.values())

    def restore(self) -> None:
        """Delete everything after the backup, which `setUp` has made."""
        append_only.remove(connection)
        for model in (Alarm, Transition, Movement, Attempt):
            model.objects.filter(transaction__pk__gt=self.last).delete()
        Transaction.objects.filter(pk__gt=self.last).delete()
        for columns in self.wallets:
            Wallet.objects.filter(pk=columns["id"]).update(**columns)
        append_only.install(connection)

    def ask(self, amount: int, key: uuid.UUID | str | None, seconds: float) -> Any:
        """Request a withdrawal that is due in this many seconds."""
        when = {"scheduled_for": self.after(seconds).isoformat()}
        answer = self.post(self.path("withdraw"), {"amount": amount, **when}, key=key)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()

    def execute(self, asked: Any) -> Transaction:
        when = self.after(3600)
        return WithdrawalService.execute(asked["id"], bank=self.bank, now=when)

    def paid(self) -> list[int]:
        return [payment.amount for payment in self.bank.paid]

    def check_paid_once(self, key: uuid.UUID | None) -> None:
        for abilities in (ABLE, DEDUPES_ONLY):
            with self.subTest(abilities):
                self.bank = FakeBank(abilities)
                first = self.ask(400, key, 60)
                self.assertEqual(self.execute(first).status, "COMPLETED")
                self.restore()
                # The time has passed, so the client names another one.
                again = self.ask(400, first["idempotency_key"], 120)
                self.assertNotEqual(again["created_at"], first["created_at"])
                self.assertEqual(self.execute(again).status, "COMPLETED")
                self.assertEqual(len(self.bank.requests), 2)
                self.assertEqual(self.paid(), [400])
                self.assert_money(self.alice, balance=600)
                self.restore()

    @marks.slow
    def test_with_its_key_is_paid_once(self) -> None:
        self.check_paid_once(uuid.uuid4())

    @marks.slow
    def test_with_the_key_of_our_answer_is_paid_once(self) -> None:
        self.check_paid_once(None)

    def test_with_another_amount_is_not_paid_and_not_given_back(self) -> None:
        """The bank answers that the reference belongs to another payment: no proof."""
        key = uuid.uuid4()
        self.execute(self.ask(400, key, 60))
        self.restore()
        again = self.execute(self.ask(300, key, 120))
        self.assertEqual((again.status, again.needs_review), ("PROCESSING", False))
        self.assertIsNotNone(again.unknown_since)
        self.assertEqual(self.paid(), [400])
        self.assert_money(self.alice, balance=700, held=300)

    def test_for_another_wallet_is_another_payment(self) -> None:
        key = uuid.uuid4()
        self.execute(self.ask(400, key, 60))
        with self.assertRaises(IdempotencyKeyReused):
            self.schedule_for_bob(key)
        self.restore()
        other = self.schedule_for_bob(key)
        done = WithdrawalService.execute(other.pk, bank=self.bank, now=self.after(7200))
        self.assertEqual(done.status, "COMPLETED")
        self.assertEqual(self.paid(), [400, 400])
        self.assertEqual(len(set(self.bank.paid_references())), 2)

    def schedule_for_bob(self, key: uuid.UUID) -> Transaction:
        when = self.now + timedelta(hours=1)
        return WithdrawalService.schedule(self.bob.uuid, 400, when, key)


class GeneratedKeyTest(Api, CommittingTestCase):
    """A client that sent no key…"""

    def test_can_repeat_a_deposit_with_the_key_of_the_answer(self) -> None:
        path = self.path("deposit")
        first = self.post(path, {"amount": 7}).json()
        key = first["transaction"]["idempotency_key"]
        again = self.post(path, {"amount": 7}, key=key)
        self.assertEqual(again.json(), first)
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assert_money(self.alice, balance=7)

    def test_can_repeat_a_withdrawal_with_the_key_of_the_answer(self) -> None:
        body = {"amount": 7, "scheduled_for": "2030-01-31T12:00:00Z"}
        first = self.post(self.path("withdraw"), body).json()
        again = self.post(
            self.path("withdraw"), body, key=first["idempotency_key"]
        ).json()
        self.assertEqual(again, first)
        self.assertEqual(self.alice.transactions.count(), 1)

"""THIRD_PARTY_CURRENCY: the bank pays amounts of one currency, which no request names."""

from __future__ import annotations

import uuid

from django.test import override_settings

from wallets import deployment
from wallets.errors import CurrencyNotPayable, IdempotencyKeyReused
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import record
from wallets.services.payouts.claiming import FindDue, find_due, find_retryable
from wallets.services.payouts.drain import Drain
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.schedule import (
    ScheduleReceipt,
    ScheduleRequest,
    schedule_many,
)
from wallets.tests.api import FUTURE, Api, nothing_written
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import Does
from wallets.utils.words import Words

any_currency = override_settings(THIRD_PARTY_CURRENCY="*")


class CurrencyTestCase(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.kuwaiti = WalletService.create(currency="KWD")
        self.deposit(1000, self.kuwaiti)
        self.deposit(1000)

    def asked(
        self, wallet: Wallet, amount: int = 10, key: uuid.UUID | None = None
    ) -> ScheduleRequest:
        return ScheduleRequest(wallet.uuid, amount, self.after(3600), key)


class ScheduleTest(Api, CurrencyTestCase):
    """A withdrawal from a wallet of another currency than the bank's…"""

    def test_is_refused_and_others_are_scheduled(self) -> None:
        for wait in (True, False):
            for key in (None, uuid.uuid4()):
                with self.subTest(wait=wait, key=key):
                    foreign = self.asked(self.kuwaiti, key=key)
                    before, refused, after = schedule_many(
                        [self.asked(self.alice), foreign, self.asked(self.bob)],
                        wait=wait,
                    )
                    self.assertIsInstance(before, ScheduleReceipt)
                    self.assertIsInstance(refused, CurrencyNotPayable)
                    self.assertIsInstance(after, ScheduleReceipt)
        self.assertFalse(self.kuwaiti.transactions.exclude(status="COMPLETED").exists())

    def test_is_refused_with_words_of_the_client_too(self) -> None:
        with self.assertRaisesMessage(CurrencyNotPayable, "KWD"):
            WithdrawalService.schedule(
                self.kuwaiti.uuid, 10, self.after(60), words=Words("rent")
            )

    def test_is_refused_over_http(self) -> None:
        body = {"amount": 1000, "scheduled_for": FUTURE}
        with nothing_written():
            refused = self.post(self.path("withdraw", wallet=self.kuwaiti), body)
        self.assert_problem(refused, 422, "currency_not_payable")

    def test_leaves_its_key_to_another_request(self) -> None:
        key = uuid.uuid4()
        (refused,) = schedule_many([self.asked(self.kuwaiti, key=key)])
        (made,) = schedule_many([self.asked(self.alice, key=key)])
        self.assertIsInstance(refused, CurrencyNotPayable)
        self.assertFalse(made.replayed)

    def test_is_what_the_setting_says(self) -> None:
        with override_settings(THIRD_PARTY_CURRENCY="KWD"):
            made, refused = schedule_many(
                [self.asked(self.kuwaiti), self.asked(self.alice)]
            )
        self.assertEqual(made.transaction.wallet_id, self.kuwaiti.pk)
        self.assertIsInstance(refused, CurrencyNotPayable)

    @any_currency
    def test_is_scheduled_where_the_bank_knows_the_currency_by_the_wallet(self) -> None:
        for made in schedule_many([self.asked(self.kuwaiti), self.asked(self.alice)]):
            self.assertIsInstance(made, ScheduleReceipt)

    def test_is_replayed_if_an_earlier_request_has_made_it(self) -> None:
        request = self.asked(self.kuwaiti, 10, uuid.uuid4())
        with any_currency:
            (made,) = schedule_many([request])
        for wait in (True, False):
            again, other = schedule_many(
                [request, request._replace(amount=11)], wait=wait
            )
            self.assertTrue(again.replayed)
            self.assertEqual(again.transaction.pk, made.transaction.pk)
            self.assertIsInstance(other, IdempotencyKeyReused)

    def test_is_recorded_if_the_bank_has_paid_it(self) -> None:
        key = uuid.uuid4()
        said = {"evidence": "statement 7, line 4", "actor": OSCAR}
        paid = record.record_payment(self.kuwaiti.uuid, 10, key=key, **said)
        (again,) = schedule_many([self.asked(self.kuwaiti, 10, key)])
        self.assertEqual(again.transaction.pk, paid.pk)
        with any_currency:
            (made,) = schedule_many([self.asked(self.kuwaiti)])
        record.record_paid(made.transaction.pk, **said)
        self.assert_money(self.kuwaiti, balance=980)


class OtherMoneyTest(CurrencyTestCase):
    """A wallet of another currency than the bank's…"""

    def test_takes_deposits_and_transfers(self) -> None:
        other = WalletService.create(currency="KWD")
        transfer(self.kuwaiti.uuid, other.uuid, 400)
        self.assert_money(other, balance=400)


class DueTest(CurrencyTestCase):
    """A withdrawal that was scheduled before the setting was…"""

    @any_currency
    def scheduled(self, amount: int = 10) -> Transaction:
        return self.due_withdrawal(amount, self.kuwaiti)

    def drain(self, find: FindDue = find_due, *, after: float = 0) -> int:
        return Drain(
            find, bank=self.bank, seconds=10, now=lambda: self.after(after)
        ).run()

    def test_is_not_paid_and_waits_for_an_operator(self) -> None:
        withdrawal = self.scheduled()
        self.assertEqual(self.drain(), 0)
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        self.assertEqual(self.bank.paid, [])
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "PENDING")
        self.assert_money(self.kuwaiti, balance=1000)

    def test_is_not_retried(self) -> None:
        withdrawal = self.scheduled()
        self.bank.script.append(Does.REFUSE)
        with any_currency:
            self.drain()
        self.assertEqual(self.drain(find_retryable, after=3600), 0)
        self.assertEqual(self.bank.paid, [])
        with any_currency:
            self.assertEqual(self.drain(find_retryable, after=3600), 1)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "COMPLETED")

    @override_settings(WITHDRAWAL_BATCH_SIZE=2, WITHDRAWAL_CONCURRENCY=2)
    def test_keeps_nobody_else_waiting(self) -> None:
        for _ in range(5):
            self.scheduled(1)
        for _ in range(3):
            self.due_withdrawal(20)
        self.assertEqual(self.drain(), 3)
        self.assertEqual([each.amount for each in self.bank.paid], [20] * 3)

    def test_is_counted_by_the_check_of_a_deployment(self) -> None:
        def said() -> list[str]:
            found = deployment.bank_pays_what_is_scheduled(databases=["default"])
            return [f"{one.id} {one.msg.split()[0]}" for one in found]

        self.due_withdrawal(10)
        self.assertEqual(said(), [])
        self.scheduled()
        self.assertEqual(said(), ["wallets.W028 1"])
        with any_currency:
            self.assertEqual(said(), [])
            self.drain()
        self.assertEqual(said(), [])

    def test_can_be_cancelled(self) -> None:
        cancelled = WithdrawalService.cancel(self.scheduled().pk)
        self.assertEqual(cancelled.status, "CANCELLED")

    def test_is_paid_when_the_setting_allows_it(self) -> None:
        self.scheduled()
        self.drain()
        with override_settings(THIRD_PARTY_CURRENCY="KWD"):
            self.assertEqual(self.drain(), 1)
        self.assert_money(self.kuwaiti, balance=990)

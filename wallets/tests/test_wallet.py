"""The wallet service: wallets and deposits."""

import uuid

from wallets.errors import (
    BalanceLimit,
    IdempotencyKeyReused,
    InvalidAmount,
    InvalidIdempotencyKey,
)
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.builders import deposit_receipt


class WalletServiceTest(WalletTestCase):
    def test_creates_an_empty_wallet_with_a_uuid_of_its_own(self):
        self.assertEqual(self.alice.balance, 0)
        self.assertNotEqual(self.alice.uuid, self.bob.uuid)

    def test_deposits_at_once(self):
        deposit = WalletService.deposit(self.alice.uuid, 10_000)

        self.assertEqual(deposit.status, Transaction.Status.COMPLETED)
        self.assertIsNotNone(deposit.executed_at)
        self.assertEqual(deposit.wallet.balance, 10_000)
        self.assert_money(self.alice, balance=10_000)
        self.assert_money(self.bob, balance=0)

    def test_takes_the_uuid_as_text(self):
        WalletService.deposit(str(self.alice.uuid), 5)
        self.assert_money(self.alice, balance=5)

    def test_writes_one_movement_with_the_balance_after_it(self):
        WalletService.deposit(self.alice.uuid, 10)
        WalletService.deposit(self.alice.uuid, 5)

        rows = Movement.objects.filter(wallet=self.alice).order_by("sequence")
        self.assertEqual(
            list(rows.values_list("kind", "amount", "sequence", "balance_after")),
            [("deposit", 10, 1, 10), ("deposit", 5, 2, 15)],
        )

    def test_refuses_what_is_no_positive_integer_within_the_limit(self):
        for amount in (0, -1, 1.0, "1", True, None, MAX_MONEY + 1, 2**63):
            with self.subTest(amount=amount), self.assertRaises(InvalidAmount) as got:
                WalletService.deposit(self.alice.uuid, amount)
            self.assertIsInstance(got.exception, ValueError)
        self.assertFalse(Transaction.objects.exists())

    def test_refuses_an_unknown_wallet(self):
        for wallet_uuid in (uuid.uuid4(), "no-uuid", None):
            with self.subTest(uuid=wallet_uuid), self.assertRaises(Wallet.DoesNotExist):
                WalletService.deposit(wallet_uuid, 1)

    def test_refuses_what_exceeds_the_cap_of_the_wallet(self):
        self.deposit(MAX_MONEY)
        with self.assertRaises(BalanceLimit):
            WalletService.deposit(self.alice.uuid, 1)
        self.assert_money(self.alice, balance=MAX_MONEY)

    def test_counts_held_money_towards_the_cap(self):
        self.deposit(MAX_MONEY)
        withdrawal = self.due_withdrawal(MAX_MONEY)
        self.bank.on_the_way = lambda payment: self._refuse_deposit()
        self.execute(withdrawal)

    def _refuse_deposit(self):
        with self.assertRaises(BalanceLimit):
            WalletService.deposit(self.alice.uuid, 1)

    def execute(self, withdrawal):
        return WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)


class DepositIdempotencyTest(WalletTestCase):
    key = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")

    def test_gives_the_first_answer_again(self):
        first = WalletService.deposit(self.alice.uuid, 10, self.key)
        self.deposit(7)
        again = WalletService.deposit(self.alice.uuid, 10, str(self.key).upper())

        self.assertEqual(again, first)
        self.assertEqual(again.executed_at, first.executed_at)
        self.assertEqual(again.wallet.balance, 17)
        self.assert_money(self.alice, balance=17)

    def test_says_in_the_receipt_what_was_made_before(self):
        receipts = []
        for _ in range(2):
            receipts.append(deposit_receipt(self.alice.uuid, 10, self.key))
            self.deposit(7)
        first, again = receipts
        self.assertEqual((first.replayed, again.replayed), (False, True))
        # All else is the same, also the balance after it.
        self.assertEqual(again._replace(replayed=False)[1:], first[1:])
        self.assertEqual(again.balance_after, 10)

    def test_refuses_the_key_for_another_request(self):
        WalletService.deposit(self.alice.uuid, 10, self.key)
        for wallet, amount in ((self.alice, 11), (self.bob, 10)):
            with self.subTest(amount=amount), self.assertRaises(IdempotencyKeyReused):
                WalletService.deposit(wallet.uuid, amount, self.key)
        self.assert_money(self.alice, balance=10)

    def test_does_not_consume_the_key_of_a_refused_request(self):
        with self.assertRaises(InvalidAmount):
            WalletService.deposit(self.alice.uuid, 0, self.key)
        with self.assertRaises(Wallet.DoesNotExist):
            WalletService.deposit(uuid.uuid4(), 10, self.key)
        self.assertFalse(deposit_receipt(self.alice.uuid, 10, self.key).replayed)

    def test_refuses_a_key_that_is_no_uuid(self):
        with self.assertRaises(InvalidIdempotencyKey):
            WalletService.deposit(self.alice.uuid, 10, "nope")

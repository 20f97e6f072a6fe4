"""Movements and balances without the services: one writer, all or nothing."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from wallets.errors import BalanceLimit, InsufficientBalance, LostRace
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Account, Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does

Kind = Movement.Kind


class LedgerTestCase(WalletTestCase):
    # The tests post movements without their other rows.
    books_must_be_right = False

    def a_deposit(self, amount: int, wallet: Wallet | None = None) -> Transaction:
        return Transaction.objects.create(
            wallet=wallet or self.alice,
            transaction_type="DEPOSIT",
            amount=amount,
            status="COMPLETED",
            executed_at=self.now,
        )

    def a_withdrawal(self, amount: int) -> Transaction:
        return Transaction.objects.create(
            wallet=self.alice,
            transaction_type="WITHDRAWAL",
            amount=amount,
            scheduled_for=self.now,
        )

    def post(self, *entries: Posting) -> list[Movement]:
        with transaction.atomic():
            ids = [entry.transaction.wallet_id for entry in entries]
            return postings.post(entries, postings.lock_wallets(ids), now=self.now)


class EffectTest(LedgerTestCase):
    def test_of_each_kind_on_each_account(self):
        """Each column sums to zero: money neither appears nor disappears."""
        table = {
            Kind.DEPOSIT: {Account.OUTSIDE: -5, Account.WALLET: 5},
            Kind.HOLD: {Account.WALLET: -5, Account.IN_FLIGHT: 5},
            Kind.SETTLE: {Account.IN_FLIGHT: -5, Account.OUTSIDE: 5},
            Kind.RELEASE: {Account.IN_FLIGHT: -5, Account.WALLET: 5},
            Kind.TRANSFER_OUT: {Account.WALLET: -5, Account.CLEARING: 5},
            Kind.TRANSFER_IN: {Account.CLEARING: -5, Account.WALLET: 5},
            Kind.CORRECTION_OUT: {Account.WALLET: -5, Account.OUTSIDE: 5},
            Kind.CORRECTION_IN: {Account.OUTSIDE: -5, Account.WALLET: 5},
            Kind.RETURN: {Account.OUTSIDE: -5, Account.WALLET: 5},
        }
        self.assertEqual(set(table), set(Kind))
        for kind, changes in table.items():
            expected = dict.fromkeys(Account, 0) | changes
            got = {account: postings.effect(account, kind, 5) for account in Account}
            with self.subTest(kind):
                self.assertEqual(got, expected)
                self.assertEqual(sum(got.values()), 0)


class PostTest(LedgerTestCase):
    def test_writes_movements_and_balances_together(self):
        held = self.a_withdrawal(30)
        self.post(
            Posting(Kind.DEPOSIT, self.a_deposit(100)), Posting(Kind.HOLD, held, 1)
        )
        self.assert_money(self.alice, balance=70, held=30)
        self.post(Posting(Kind.RELEASE, held, 1))
        self.assert_money(self.alice, balance=100)
        rows = Movement.objects.order_by("sequence").values_list(
            "sequence", "kind", "leg", "balance_after"
        )
        self.assertEqual(
            list(rows),
            [
                (1, "deposit", "open", 100),
                (2, "hold", "open", 70),
                (3, "release", "close", 100),
            ],
        )

    def test_leaves_the_balance_when_a_hold_is_settled(self):
        paid = self.a_withdrawal(30)
        self.post(
            Posting(Kind.DEPOSIT, self.a_deposit(100)), Posting(Kind.HOLD, paid, 1)
        )
        self.post(Posting(Kind.SETTLE, paid, 1))
        self.assert_money(self.alice, balance=70)

    def test_writes_nothing_when_one_entry_is_refused(self):
        with self.assertRaises(InsufficientBalance):
            self.post(
                Posting(Kind.DEPOSIT, self.a_deposit(10)),
                Posting(Kind.HOLD, self.a_withdrawal(11), 1),
            )
        self.assert_money(self.alice, balance=0)
        self.assertEqual(Movement.objects.count(), 0)

    def test_refuses_more_than_a_wallet_holds_counting_what_is_in_flight(self):
        flying = self.a_withdrawal(MAX_MONEY)
        self.post(Posting(Kind.DEPOSIT, self.a_deposit(MAX_MONEY)))
        self.post(Posting(Kind.HOLD, flying, 1))
        with self.assertRaises(BalanceLimit):
            self.post(Posting(Kind.DEPOSIT, self.a_deposit(1)))
        self.post(Posting(Kind.RELEASE, flying, 1))
        self.assert_money(self.alice, balance=MAX_MONEY)

    def test_loses_against_a_writer_without_the_lock(self):
        locked = postings.lock_wallets([self.alice.pk])
        self.post(Posting(Kind.DEPOSIT, self.a_deposit(5)))
        with self.assertRaises(LostRace), transaction.atomic():
            postings.post(
                [Posting(Kind.DEPOSIT, self.a_deposit(7))], locked, now=self.now
            )
        self.assert_money(self.alice, balance=5)

    def test_takes_several_wallets_at_once(self):
        self.post(
            Posting(Kind.DEPOSIT, self.a_deposit(1, self.bob)),
            Posting(Kind.DEPOSIT, self.a_deposit(2)),
            Posting(Kind.DEPOSIT, self.a_deposit(3, self.bob)),
        )
        self.assert_money(self.alice, balance=2)
        self.assert_money(self.bob, balance=4)

    def test_does_not_go_back_in_time(self):
        self.post(Posting(Kind.DEPOSIT, self.a_deposit(1)))
        with transaction.atomic():
            (late,) = postings.post(
                [Posting(Kind.DEPOSIT, self.a_deposit(1))],
                postings.lock_wallets([self.alice.pk]),
                now=self.now - timedelta(hours=1),
            )
        self.assertEqual(late.created_at, self.now)


class LockTest(LedgerTestCase):
    def test_is_taken_in_the_order_of_the_ids_once_each(self):
        ids = [self.bob.pk, self.alice.pk, self.bob.pk]
        self.assertEqual(
            list(postings.lock_wallets(ids)), sorted({self.alice.pk, self.bob.pk})
        )


class StatementTest(WalletTestCase):
    def test_of_all_movements_adds_up(self):
        self.deposit(1000)
        for does in (Does.PAY, Does.REFUSE, Does.LOSE, Does.UNREACHABLE, Does.PAY):
            self.bank.script.append(does)
            WithdrawalService.execute(
                self.due_withdrawal(100).pk, bank=self.bank, now=self.now
            )
        self.assert_money(self.alice, balance=700, held=100)
        movements = list(self.alice.movements.order_by("sequence"))
        self.assertEqual([m.sequence for m in movements], list(range(1, 11)))
        balance = 0
        for movement in movements:
            balance += postings.effect(Account.WALLET, movement.kind, movement.amount)
            self.assertEqual(movement.balance_after, balance)

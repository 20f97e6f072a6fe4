"""Wallets that are frozen, unfrozen and closed, and what is due meanwhile."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock
from uuid import uuid4

from django.db import connection, transaction
from django.test import override_settings

from wallets.errors import (
    InvalidInput,
    Refusal,
    WalletClosed,
    WalletFrozen,
    WalletNotEmpty,
)
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.deposits.deposit import (
    DepositReceipt,
    DepositRequest,
    deposit_many,
)
from wallets.services.ledger import postings
from wallets.services.operations import record
from wallets.services.payouts import dispatch, payout, sweeps, waiting
from wallets.services.payouts.claiming import find_due, find_retryable
from wallets.services.payouts.drain import Drain
from wallets.services.requests.busy import Busy
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.schedule import (
    ScheduleReceipt,
    ScheduleRequest,
    schedule_many,
)
from wallets.tests import builders, marks
from wallets.tests.base import OSCAR, CommittingTestCase, WalletTestCase
from wallets.tests.fakes import LOOKS_UP_ONLY, Does, FakeBank
from wallets.tests.races import FEW, race, rounds
from wallets.utils.bank.interface import Answer, Outcome, Payment

WHY = "a court order"
PATIENCE = 20  # seconds


class LifeTestCase(WalletTestCase):
    def freeze(self, direction: str = "out", wallet: Wallet | None = None) -> Wallet:
        return life.freeze(
            (wallet or self.alice).uuid, direction, reason=WHY, actor=OSCAR
        )

    def unfreeze(self, direction: str = "out") -> Wallet:
        return life.unfreeze(self.alice.uuid, direction, reason="over", actor=OSCAR)

    def close(self, wallet: Wallet | None = None) -> Wallet:
        return life.close((wallet or self.alice).uuid, reason="left", actor=OSCAR)

    def schedule(self, amount: int = 100, **options: Any) -> Transaction:
        """Schedule what was due a moment ago."""
        return WithdrawalService.schedule(
            self.alice.uuid,
            amount,
            self.now,
            now=self.now - timedelta(hours=1),
            **options,
        )

    def execute(self, withdrawal: Transaction, at: float = 0) -> Transaction:
        return WithdrawalService.execute(
            withdrawal.pk, bank=self.bank, now=self.after(at)
        )


class FreezeTest(LifeTestCase):
    def test_has_the_state_of_its_directions(self):
        for action, direction, state in (
            (self.freeze, "in", "frozen_in"),
            (self.freeze, "out", "frozen"),
            (self.unfreeze, "in", "frozen_out"),
            (self.unfreeze, "both", "active"),
            (self.freeze, "both", "frozen"),
        ):
            with self.subTest(state):
                self.assertEqual(action(direction).state, state)
                self.assertEqual(Wallet.objects.get(pk=self.alice.pk).state, state)

    def test_is_in_the_history_with_actor_and_reason(self):
        self.freeze("in")
        self.freeze("in")  # is frozen so already
        self.unfreeze("both")
        rows = WalletChange.objects.values_list(
            "sequence", "event", "before", "after", "actor", "reason"
        )
        self.assertEqual(
            list(rows),
            [
                (
                    1,
                    "frozen",
                    '{"state":"active"}',
                    '{"state":"frozen_in"}',
                    OSCAR,
                    WHY,
                ),
                (
                    2,
                    "unfrozen",
                    '{"state":"frozen_in"}',
                    '{"state":"active"}',
                    OSCAR,
                    "over",
                ),
            ],
        )

    def test_in_refuses_deposits_only(self):
        self.freeze("in")
        with self.assertRaises(WalletFrozen):
            self.deposit(5)
        self.schedule()
        self.unfreeze("in")
        self.deposit(5)

    def test_out_refuses_new_withdrawals_only(self):
        self.freeze("out")
        with self.assertRaises(WalletFrozen):
            self.schedule()
        self.deposit(5)

    def test_does_not_stop_the_requests_of_others(self):
        self.freeze("both")
        when = self.after(60)
        plans = [ScheduleRequest(one.uuid, 5, when) for one in (self.alice, self.bob)]
        for wait in (True, False):
            deposits = [
                DepositRequest(wallet.uuid, 5, uuid4())
                for wallet in (self.alice, self.bob)
            ]
            results = [
                deposit_many(deposits, wait=wait),
                schedule_many(plans, wait=wait),
            ]
            for refused, done in results:
                self.assertIsInstance(refused, (WalletFrozen, Busy))
                self.assertNotIsInstance(done, (Refusal, Busy))

    @marks.slow
    def test_refuses_the_same_by_every_form_of_a_request(self):
        """One request or several, waiting or not: the states decide alike."""
        for directions, closed, takes, gives in (
            ((), False, True, True),
            (("in",), False, False, True),
            (("out",), False, True, False),
            (("in", "out"), False, False, False),
            ((), True, False, False),
        ):
            wallet = WalletService.create()
            for direction in directions:
                self.freeze(direction, wallet)
            if closed:
                self.close(wallet)
            for count in (1, 3):
                for wait in (True, False):
                    deposits = [
                        DepositRequest(wallet.uuid, 5, uuid4()) for _ in range(count)
                    ]
                    plan = ScheduleRequest(wallet.uuid, 5, self.after(60))
                    results = deposit_many(deposits, wait=wait)
                    plans = schedule_many([plan] * count, wait=wait)
                    with self.subTest(wallet.state, count=count, wait=wait):
                        for result in results:
                            self.assertEqual(isinstance(result, DepositReceipt), takes)
                        for result in plans:
                            self.assertEqual(isinstance(result, ScheduleReceipt), gives)

    def test_lets_a_repeated_request_see_its_first_answer(self):
        key = uuid4()
        first = WalletService.deposit(self.alice.uuid, 5, key)
        self.freeze("both")
        self.assertEqual(WalletService.deposit(self.alice.uuid, 5, key), first)

    def test_lets_a_payment_on_its_way_end(self):
        for outcome, balance in ((Outcome.ACCEPTED, 0), (Outcome.REJECTED, 100)):
            with self.subTest(outcome):
                self.deposit(100)
                withdrawal = self.schedule()
                rows = Transaction.objects.filter(pk=withdrawal.pk)
                (sending,) = payout.claim(
                    rows, bank=self.bank.abilities, limit=1, now=self.now
                ).sendings
                self.freeze("both")
                payout.record([(sending, Answer(outcome, "the bank"))], now=self.now)
                self.assert_money(self.alice, balance=balance)
                self.unfreeze("both")

    def test_lets_an_operator_record_what_the_bank_has_paid(self):
        self.deposit(100)
        withdrawal = self.schedule()
        self.freeze("both")
        record.record_paid(withdrawal.pk, evidence="the list", actor=OSCAR)
        self.assert_money(self.alice, balance=0)

    def test_refuses_what_is_no_freeze(self):
        for direction, reason, actor in (
            ("", WHY, OSCAR),
            ("IN", WHY, OSCAR),
            ("out", " ", OSCAR),
            ("out", "x" * 501, OSCAR),
            ("out", "a\nb", OSCAR),
            ("out", WHY, ""),
        ):
            with self.subTest(direction, reason=reason), self.assertRaises(
                InvalidInput
            ):
                life.freeze(self.alice.uuid, direction, reason=reason, actor=actor)
        with self.assertRaises(Wallet.DoesNotExist):
            life.freeze("nobody", "in", reason=WHY, actor=OSCAR)


class DueWhileFrozenTest(LifeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def drain(self, find: Any = find_due) -> int:
        sweep = Drain(find, bank=self.bank, seconds=0.5, now=lambda: self.after(3600))
        return sweep.run()

    def test_waits_and_is_paid_after_the_freeze(self):
        withdrawal = self.schedule()
        self.freeze()
        found = self.execute(withdrawal)
        self.assertEqual((found.status, found.waits_for_wallet), ("PENDING", True))
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(withdrawal)  # no sweep sees it any more
        self.assertEqual(self.bank.paid, [])
        self.unfreeze()
        self.assertEqual(self.execute(withdrawal).status, "COMPLETED")
        self.alice.refresh_from_db()
        self.assertFalse(self.alice.has_waiting)

    def test_fails_for_good_if_it_was_scheduled_so(self):
        withdrawal = self.schedule(fails_if_frozen=True)
        self.freeze()
        found = self.execute(withdrawal)
        self.assertEqual(
            (found.status, found.failure_code, found.final),
            ("FAILED", "wallet_frozen", True),
        )
        self.assertEqual(self.bank.paid, [])
        self.assert_money(self.alice, balance=1000)

    def test_is_paid_if_the_freeze_has_ended_before(self):
        for fails in (True, False):
            withdrawal = self.schedule(fails_if_frozen=fails)
            self.freeze()
            self.unfreeze()
            self.assertEqual(self.execute(withdrawal).status, "COMPLETED")

    def test_is_not_affected_by_a_freeze_of_what_comes_in(self):
        withdrawal = self.schedule(fails_if_frozen=True)
        self.freeze("in")
        self.assertEqual(self.execute(withdrawal).status, "COMPLETED")

    def test_waits_or_fails_before_a_retry_too(self):
        for fails, status in ((False, "FAILED"), (True, "FAILED")):
            withdrawal = self.schedule(fails_if_frozen=fails)
            self.bank.script.append(Does.REFUSE)
            self.execute(withdrawal)
            self.freeze()
            found = self.execute(withdrawal, at=3600)
            self.assertEqual((found.status, found.final), (status, fails))
            self.unfreeze()
            if not fails:
                self.assertEqual(self.execute(withdrawal, at=7200).status, "COMPLETED")

    def test_can_be_cancelled_while_it_waits(self):
        withdrawal = self.schedule()
        self.freeze()
        self.execute(withdrawal)
        found = WithdrawalService.cancel(withdrawal.pk)
        self.assertEqual((found.status, found.waits_for_wallet), ("CANCELLED", False))
        self.unfreeze()
        self.alice.refresh_from_db()
        self.assertFalse(self.alice.has_waiting)

    def test_is_paid_by_the_sweeps_if_the_process_ends_after_the_unfreeze(self):
        rows = [self.schedule(10) for _ in range(5)]
        self.freeze()
        payout.claim(
            find_due(self.now), bank=self.bank.abilities, limit=2, now=self.now
        )
        waiting.begin_for_frozen(find_due(self.now))
        with mock.patch.object(waiting, "end", return_value=0):
            self.unfreeze()
        self.assertEqual(find_due(self.now).count(), 0)
        with mock.patch.object(waiting, "BATCH", 2):
            self.assertEqual(dispatch.wake_for_pending(), 5)
        self.assertEqual(sweeps.pay_pending(bank=self.bank, seconds=0.5), 5)
        paid = Transaction.objects.filter(pk__in=[row.pk for row in rows])
        self.assertEqual(set(paid.values_list("status", flat=True)), {"COMPLETED"})

    def test_ends_its_wait_in_bounded_transactions(self):
        for _ in range(7):
            self.schedule(10)
        self.freeze()
        waiting.begin_for_frozen(find_due(self.now))
        with (
            mock.patch.object(waiting, "BATCH", 2),
            mock.patch.object(waiting, "MAX_BATCHES", 2),
        ):
            self.unfreeze()
            self.assertEqual(find_due(self.now).count(), 4)
            self.assertEqual(waiting.end(), 3)
        self.assertEqual(waiting.end(), 0)
        self.assertFalse(waiting.ended().exists())

    def test_is_not_forgotten_while_another_transaction_locks_it(self):
        withdrawal = self.schedule()
        self.freeze()
        self.execute(withdrawal)
        locked = mock.patch.object(waiting, "_end_some", return_value=0)
        with locked:
            self.unfreeze()
        self.assertTrue(waiting.ended().exists())
        self.assertEqual(waiting.end(), 1)

    def test_waits_again_if_the_wallet_is_frozen_again(self):
        withdrawal = self.schedule()
        self.freeze()
        self.execute(withdrawal)
        self.unfreeze()
        self.freeze()
        self.assertTrue(self.execute(withdrawal).waits_for_wallet)

    def test_is_not_late(self):
        withdrawal = self.schedule()
        self.freeze()
        self.execute(withdrawal)
        self.assertEqual(find_due(self.after(3600)).count(), 0)
        self.assertEqual(find_retryable(self.after(3600)).count(), 0)


class DueBurstWhileFrozenTest(CommittingTestCase):
    """Many withdrawals of Bob's frozen wallet, due before one of Alice's…"""

    MANY = 9

    def setUp(self) -> None:
        super().setUp()
        for wallet in (self.alice, self.bob):
            self.deposit(1000, wallet)
        for _ in range(self.MANY):
            builders.due_withdrawal(self.bob, 10, due=self.now)
        self.fails = builders.due_withdrawal(self.bob, 10, due=self.now)
        Transaction.objects.filter(pk=self.fails.pk).update(fails_if_frozen=True)
        self.alices = builders.due_withdrawal(self.alice, 100, due=self.now)
        self.later = WithdrawalService.schedule(self.bob.uuid, 10, self.after(7200))
        life.freeze(self.bob.uuid, "both", reason=WHY, actor=OSCAR)

    def drain(self) -> None:
        with override_settings(WITHDRAWAL_BATCH_SIZE=2):
            Drain(
                find_due, bank=self.bank, seconds=PATIENCE, now=lambda: self.after(1)
            ).run()

    def waiting(self) -> int:
        return Transaction.objects.filter(waits_for_wallet=True).count()

    def test_delays_it_by_one_batch_only(self) -> None:
        marked: list[int] = []
        paid = threading.Event()

        def on_the_way(payment: Payment) -> None:
            marked.append(self.waiting())
            paid.set()

        begin = waiting.begin_for_frozen

        def slowly(due: Any) -> int:
            paid.wait(PATIENCE)
            return begin(due)

        self.bank.on_the_way = on_the_way
        with mock.patch.object(waiting, "begin_for_frozen", slowly):
            self.drain()
        self.assertEqual(marked, [2])

    def test_waits_completely_after_one_sweep(self) -> None:
        with mock.patch.object(waiting, "BATCH", 4):
            self.drain()
        self.assertEqual(self.waiting(), self.MANY)
        for row in (self.alices, self.fails, self.later):
            row.refresh_from_db()
            self.assertFalse(row.waits_for_wallet)
        self.assertEqual(
            (self.alices.status, self.fails.failure_code, self.later.status),
            ("COMPLETED", "wallet_frozen", "PENDING"),
        )
        self.bob.refresh_from_db()
        self.assertTrue(self.bob.has_waiting)

    def test_does_not_wait_if_the_freeze_ends_before_it_is_marked(self) -> None:
        def unfreeze_first(*args: Any, **options: Any) -> Any:
            patched.stop()
            # Durable blocks cannot be nested; so in the transaction of the marks.
            with mock.patch.object(
                life, "run_in_transaction", lambda work, **_: work()
            ):
                life.unfreeze(self.bob.uuid, "both", reason=WHY, actor=OSCAR)
            return postings.lock_wallets(*args, **options)

        patched = mock.patch.object(postings, "lock_wallets", unfreeze_first)
        patched.start()
        found = waiting.begin_for_frozen(find_due(self.after(1)))
        self.assertEqual((found, self.waiting()), (self.MANY, 0))


class CloseTest(LifeTestCase):
    def test_is_final_and_refuses_everything(self):
        self.assertEqual(self.close().state, "closed")
        for action in (
            partial(self.deposit, 5),
            self.schedule,
            partial(self.freeze, "in"),
            partial(self.unfreeze, "in"),
            partial(WalletService.change, self.alice.uuid, {"reference": "x"}),
            partial(
                record.record_payment,
                self.alice.uuid,
                5,
                evidence="list",
                actor=OSCAR,
                key=uuid4(),
            ),
        ):
            with self.subTest(action), self.assertRaises(WalletClosed):
                action()

    def test_is_safe_to_repeat(self):
        self.assertEqual(self.close(), self.close())
        self.assertEqual(WalletChange.objects.count(), 1)

    def test_closes_a_frozen_wallet(self):
        self.freeze("both")
        self.assertEqual(self.close().state, "closed")

    def test_refuses_a_wallet_with_money(self):
        self.deposit(1)
        with self.assertRaises(WalletNotEmpty):
            self.close()

    def test_refuses_a_wallet_with_a_withdrawal_that_has_not_ended(self):
        withdrawal = self.schedule(5)
        with self.assertRaisesMessage(WalletNotEmpty, f"such as {withdrawal.pk}."):
            self.close()
        self.freeze()
        self.execute(withdrawal)  # it waits
        with self.assertRaises(WalletNotEmpty):
            self.close()
        WithdrawalService.cancel(withdrawal.pk)
        self.close()

    def test_refuses_a_wallet_with_a_retry_to_come(self):
        self.deposit(5)
        withdrawal = self.schedule(5)
        self.bank.script.append(Does.REFUSE)
        self.execute(withdrawal)
        other = self.schedule(5)
        self.execute(other)
        self.assert_money(self.alice, balance=0)
        with self.assertRaises(WalletNotEmpty):
            self.close()
        WithdrawalService.cancel(withdrawal.pk)
        self.close()

    def test_refuses_a_wallet_with_money_on_its_way(self):
        self.deposit(5)
        self.schedule(5)
        payout.claim(
            find_due(self.now), bank=self.bank.abilities, limit=1, now=self.now
        )
        self.assert_money(self.alice, balance=0, held=5)
        with self.assertRaises(WalletNotEmpty):
            self.close()


class LifeRaceTest(CommittingTestCase):
    """Whoever is first wins, and the other one sees it. The books are verified."""

    def setUp(self) -> None:
        super().setUp()
        self.bank = FakeBank(LOOKS_UP_ONLY)

    def wallet(self, amount: int = 0) -> Any:
        return lambda number: builders.wallet_with(amount)

    def close(self, wallet: Wallet) -> Any:
        return life.close(wallet.uuid, reason=WHY, actor=OSCAR)

    def freeze(self, wallet: Wallet) -> Any:
        return life.freeze(wallet.uuid, "both", reason=WHY, actor=OSCAR)

    def schedule(self, wallet: Wallet) -> Any:
        return WithdrawalService.schedule(wallet.uuid, 5, self.after(3600))

    def schedule_batch(self, wallet: Wallet) -> Any:
        """As the API does: without waiting, and then alone."""
        asked = [ScheduleRequest(wallet.uuid, 5, self.after(3600))]
        (result,) = schedule_many(asked, wait=False)
        if isinstance(result, Busy):
            (result,) = schedule_many(asked)
        if isinstance(result, Exception):
            raise result
        return result.transaction

    def deposit(self, wallet: Wallet, amount: int = 5) -> Any:  # type: ignore[override]
        return WalletService.deposit(wallet.uuid, amount)

    @marks.slow
    def test_closes_a_wallet_or_schedules_a_withdrawal_never_both(self):
        seen = set()

        def judge(wallet: Wallet, results: list[Any]) -> None:
            closed, *scheduled = results
            wallet.refresh_from_db()
            made = [one for one in scheduled if isinstance(one, Transaction)]
            self.assertEqual(wallet.closed, not isinstance(closed, Exception), results)
            self.assertEqual(wallet.transactions.count(), len(made))
            self.assertNotEqual(wallet.closed, bool(made), results)
            for one in results:
                self.assertIsInstance(
                    one, (Wallet, Transaction, WalletClosed, WalletNotEmpty)
                )
            seen.add(wallet.closed)

        works = [self.close, self.schedule, self.schedule_batch]
        rounds(FEW, self.wallet(), works, judge)

    @marks.slow
    def test_closes_a_wallet_or_takes_a_deposit_never_both(self):
        def judge(wallet: Wallet, results: list[Any]) -> None:
            wallet.refresh_from_db()
            closed, deposit = results
            self.assertEqual(wallet.closed, isinstance(closed, Wallet), results)
            self.assertEqual(wallet.closed, isinstance(deposit, WalletClosed), results)
            self.assertEqual(wallet.balance, 0 if wallet.closed else 5)

        rounds(FEW, self.wallet(), [self.close, self.deposit], judge)

    @marks.slow
    def test_freezes_a_wallet_before_or_after_a_claim(self):
        def prepare(number: int) -> Wallet:
            wallet = builders.wallet_with(100)
            builders.due_withdrawal(wallet, 100, due=self.now)
            return wallet

        def claim(wallet: Wallet) -> Any:
            return payout.claim(
                find_due(self.after(1)),
                bank=self.bank.abilities,
                limit=5,
                now=self.after(1),
            )

        def judge(wallet: Wallet, results: list[Any]) -> None:
            frozen, claim = results
            self.assertIsInstance(frozen, Wallet, results)
            row = wallet.transactions.get(transaction_type="WITHDRAWAL")
            self.assertIn(
                (row.status, row.waits_for_wallet, len(claim.sendings)),
                [("PROCESSING", False, 1), ("PENDING", True, 0)],
            )
            wallet.refresh_from_db()
            self.assertEqual(wallet.has_waiting, row.waits_for_wallet)

        rounds(FEW, prepare, [self.freeze, claim], judge)

    @marks.slow
    def test_freezes_a_wallet_before_or_after_a_deposit(self):
        def judge(wallet: Wallet, results: list[Any]) -> None:
            frozen, deposit = results
            self.assertIsInstance(frozen, Wallet, results)
            wallet.refresh_from_db()
            refused = isinstance(deposit, WalletFrozen)
            self.assertEqual(wallet.balance, 0 if refused else 5)

        rounds(FEW, self.wallet(), [self.freeze, self.deposit], judge)

    @marks.slow
    def test_loses_no_withdrawal_between_a_claim_and_the_end_of_a_freeze(self):
        """A mark that is set while another transaction removes all of them."""

        def prepare(number: int) -> Wallet:
            wallet = builders.wallet_with(100)
            for _ in range(3):
                builders.due_withdrawal(wallet, 10, due=self.now)
            self.freeze(wallet)
            return wallet

        def claim(wallet: Wallet) -> Any:
            mine = find_due(self.after(1)).filter(wallet=wallet)
            return payout.claim(
                mine, bank=self.bank.abilities, limit=1, now=self.after(1)
            )

        def unfreeze(wallet: Wallet) -> Any:
            return life.unfreeze(wallet.uuid, "both", reason=WHY, actor=OSCAR)

        def judge(wallet: Wallet, results: list[Any]) -> None:
            for one in results:
                self.assertNotIsInstance(one, Exception)
            waiting.end()
            wallet.refresh_from_db()
            self.assertFalse(wallet.has_waiting)
            self.assertFalse(wallet.transactions.filter(waits_for_wallet=True).exists())

        def mark(wallet: Wallet) -> Any:
            mine = find_due(self.after(1)).filter(wallet=wallet)
            return waiting.begin_for_frozen(mine)

        rounds(FEW, prepare, [claim, unfreeze, mark], judge)

    def test_does_not_keep_a_schedule_from_a_deposit(self):
        """On PostgreSQL a schedule's lock and a deposit's do not wait for each other."""
        if connection.vendor != "postgresql":
            self.skipTest("the other engines lock the wallet")
        wallet = builders.wallet_with(5)
        with transaction.atomic():
            postings.lock_wallets([wallet.pk])
            (made,) = race(partial(self.schedule_batch, wallet))
            self.assertIsInstance(made, Transaction)

"""Wallets that another transaction locks: only their own payouts wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest import mock, skipIf

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test import SimpleTestCase, override_settings

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import busy_wallets, drain, kept, resolver, sweeps, take
from wallets.services.payouts.busy_wallets import BusyWallets
from wallets.services.payouts.claiming import find_due, find_retryable
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase, close_connections
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import DEDUPES_ONLY, LOOKS_UP_ONLY, Does, FakeBank
from wallets.tests.marks import slow
from wallets.tests.races import be_impatient
from wallets.utils import clock
from wallets.utils.bank.interface import Payment
from wallets.utils.database import outage
from wallets.utils.database.transactions import lock_rows
from wallets.utils.messaging import stopping

PATIENCE = 60.0
BOBS, ALICES = 20, 10
# A lock time-out is five seconds. A transaction that is run again after it, as often as
# after other errors, takes 25.
AT_MOST = 20.0


def wait_until(happened: Callable[[], bool]) -> bool:
    ends = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < ends:
        time.sleep(0.01)
    return happened()


@skipIf(connection.vendor == "sqlite", "no row locks: the transaction is the lock")
class LockingTestCase(CommittingTestCase):
    """Due withdrawals of Bob and, after it, of Alice; a thread can lock Bob's rows."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000, self.bob)
        self.deposit(1000)
        self.bobs = self.due_withdrawal(BOBS, self.bob)
        self.alices = self.due_withdrawal(ALICES)
        self.held, self.let_go = threading.Event(), threading.Event()

    def locked(self) -> QuerySet[Any]:
        """Return the rows of Bob that `hold` locks."""
        return Wallet.objects.filter(pk=self.bob.pk)

    def hold(self) -> None:
        """Lock Bob's rows until they are released."""
        holder = threading.Thread(target=self._hold)
        holder.start()
        self.addCleanup(holder.join, PATIENCE)
        self.addCleanup(self.let_go.set)
        self.assertTrue(self.held.wait(PATIENCE))

    def _hold(self) -> None:
        with transaction.atomic():
            lock_rows(self.locked())
            self.held.set()
            self.let_go.wait(PATIENCE)
        close_connections()

    def status_of(self, withdrawal: Transaction) -> str:
        return Transaction.objects.values_list("status", flat=True).get(
            pk=withdrawal.pk
        )

    def let_go_when(self, happened: Callable[[], bool]) -> list[bool]:
        """Release Bob's rows as soon as this has happened; tell whether it has."""
        told: list[bool] = []

        def wait() -> None:
            wait_until(lambda: self.let_go.is_set() or happened())
            told.append(happened())
            self.let_go.set()
            close_connections()

        waiting = threading.Thread(target=wait)
        waiting.start()
        self.addCleanup(waiting.join, PATIENCE)
        self.addCleanup(self.let_go.set)
        return told

    def is_alices_completed(self) -> bool:
        return self.status_of(self.alices) == "COMPLETED"

    def assert_all_paid_once(self) -> None:
        for withdrawal in (self.bobs, self.alices):
            self.assertEqual(self.status_of(withdrawal), "COMPLETED")
        self.assertEqual(
            sorted(payment.amount for payment in self.bank.paid), [ALICES, BOBS]
        )


class BusyWalletTest(LockingTestCase):
    """Bob's locked wallet, when his payout is due, and Alice's after it…"""

    def setUp(self) -> None:
        super().setUp()
        self.sweep = Drain(find_due, bank=self.bank, seconds=PATIENCE)

    def test_does_not_delay_the_claim_and_payment_of_alices_payout(self) -> None:
        paid: list[tuple[int, bool]] = []

        def on_the_way(payment: Payment) -> None:
            paid.append((payment.amount, self.let_go.is_set()))
            if payment.amount == ALICES:
                wait_until(
                    lambda: self.sweep.claiming.busy.waited_for() == {self.bob.pk}
                )
                self.let_go.set()

        self.bank.on_the_way = on_the_way
        self.hold()
        self.assertEqual(self.sweep.run(), 2)
        self.assertEqual(paid, [(ALICES, False), (BOBS, True)])
        self.assert_all_paid_once()

    def test_does_not_delay_the_record_of_alices_answer(self) -> None:
        bobs_answered = threading.Event()
        record_until = drain.record_until
        meanwhile: list[list[bool]] = []

        def record(results: Any, **options: Any) -> Any:
            if any(sent.payment.amount == BOBS for sent, _ in results):
                bobs_answered.set()
            return record_until(results, **options)

        def on_the_way(payment: Payment) -> None:
            if payment.amount == BOBS:
                self.hold()
                meanwhile.append(self.let_go_when(alices_alone_is_recorded))
            else:
                bobs_answered.wait(PATIENCE)

        def alices_alone_is_recorded() -> bool:
            return (
                self.is_alices_completed() and self.status_of(self.bobs) == "PROCESSING"
            )

        self.bank.on_the_way = on_the_way
        with mock.patch.object(drain, "record_until", record):
            self.assertEqual(self.sweep.run(), 2)
        self.assertEqual(meanwhile, [[True]])
        self.assert_all_paid_once()

    def test_does_not_delay_the_sweep_when_its_freeze_has_ended(self) -> None:
        """Its mark says that withdrawals may still wait, and each sweep looks first."""
        Wallet.objects.filter(pk=self.bob.pk).update(has_waiting=True)
        self.hold()
        released = self.let_go_when(self.is_alices_completed)
        sweeps.pay_pending(bank=self.bank)
        sweeps.pay_pending(bank=self.bank)
        self.assertEqual(released, [True])
        self.assert_all_paid_once()
        self.bob.refresh_from_db()
        self.assertFalse(self.bob.has_waiting)

    @override_settings(WITHDRAWAL_BATCH_SIZE=1)
    def test_does_not_delay_alices_retry(self) -> None:
        """Bob's retry is all that the first claim finds."""
        self.bank.script += [Does.REFUSE, Does.REFUSE]
        self.assertEqual(self.sweep.run(), 2)
        Transaction.objects.filter(status="FAILED").update(next_attempt_at=self.now)
        self.hold()
        released = self.let_go_when(self.is_alices_completed)
        retries = Drain(find_retryable, bank=self.bank, seconds=PATIENCE)
        self.assertEqual(retries.run(), 2)
        self.assertEqual(released, [True])
        self.assert_all_paid_once()


@slow
class StubbornLockTest(LockingTestCase):
    """The lock of Bob's wallet, when it outlives the sweep…"""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(kept.finish)
        self.addCleanup(self.let_go.set)

    def sweep(self) -> float:
        """Sweep for a moment; return how many seconds that took."""
        began = time.monotonic()
        sweeps.pay_pending(bank=self.bank, seconds=0.5)
        return time.monotonic() - began

    def assert_the_next_pays_a_stranger(self) -> None:
        stranger = self.due_withdrawal(1)
        self.assertLess(self.sweep(), AT_MOST)
        self.assertEqual(self.status_of(stranger), "COMPLETED")
        self.assertFalse(self.let_go.is_set())

    def test_holds_it_up_for_one_lock_time_out_when_bobs_payout_is_due(self) -> None:
        self.hold()
        self.assertLess(self.sweep(), AT_MOST)
        self.assertTrue(self.is_alices_completed())
        self.assert_the_next_pays_a_stranger()
        self.let_go.set()
        self.sweep()
        self.assertEqual(self.status_of(self.bobs), "COMPLETED")

    def test_holds_it_up_for_one_lock_time_out_when_bobs_is_marked(self) -> None:
        """A frozen wallet's withdrawals are marked as waiting."""
        Wallet.objects.filter(pk=self.bob.pk).update(frozen_out=True)
        claiming = Drain(find_due, bank=self.bank, seconds=PATIENCE).claiming
        self.hold()
        claiming.busy.leave(busy_wallets.FROZEN, claiming._mark_frozen)
        began = time.monotonic()
        claiming.busy.end()
        self.assertLess(time.monotonic() - began, AT_MOST)
        self.assertFalse(Transaction.objects.get(pk=self.bobs.pk).waits_for_wallet)

    def hold_during_bobs_payment(self) -> None:
        def on_the_way(payment: Payment) -> None:
            if payment.amount == BOBS:
                self.hold()

        self.bank.on_the_way = on_the_way

    def test_loses_no_answer_about_bob_and_delays_no_stranger(self) -> None:
        self.hold_during_bobs_payment()
        self.assertLess(self.sweep(), AT_MOST)
        self.assertTrue(self.is_alices_completed())
        self.assert_the_next_pays_a_stranger()
        self.assertEqual(self.status_of(self.bobs), "PROCESSING")
        self.let_go.set()
        kept.finish()
        self.assertEqual(self.status_of(self.bobs), "COMPLETED")
        self.assertEqual([p.amount for p in self.bank.paid].count(BOBS), 1)

    def test_and_the_lease_leaves_evidence_of_the_answer(self) -> None:
        self.hold_during_bobs_payment()
        self.sweep()
        self.assert_given_up(override_settings(WITHDRAWAL_LEASE=0))

    def test_and_the_patience_of_a_stop_leaves_evidence_of_the_answer(self) -> None:
        self.hold_during_bobs_payment()
        self.sweep()
        long_ago = clock.elapsed() - settings.WITHDRAWAL_RECORDING_TIME
        stopped = ExitStack()
        stopped.enter_context(mock.patch.object(outage, "_stopping_since", long_ago))
        stopped.enter_context(mock.patch.object(stopping, "wait", return_value=True))
        self.assert_given_up(stopped)

    def assert_given_up(self, over: AbstractContextManager[object]) -> None:
        with over, self.assertLogs(
            "wallets.services.payouts.recording", "ERROR"
        ) as log:
            kept.finish()
        (record,) = log.records
        self.assertEqual(record.withdrawal_id, self.bobs.pk)  # type: ignore[attr-defined]
        self.assertFalse(self.let_go.is_set())
        self.assertEqual(self.status_of(self.bobs), "PROCESSING")

    def test_of_a_second_request_delays_no_other_round(self) -> None:
        self.bank = FakeBank(DEDUPES_ONLY)
        self.bank.script.append(Does.PAY_SILENTLY)
        WithdrawalService.execute(self.bobs.pk, bank=self.bank)
        self.bobs.attempts.update(next_check_at=self.now, lease_expires_at=self.now)
        self.bank.on_the_way = lambda payment: self.hold()
        later = self.after(settings.WITHDRAWAL_LEASE)
        began = time.monotonic()
        resolver.resolve_due(bank=self.bank, limit=9, now=later)
        self.assertLess(time.monotonic() - began, AT_MOST)
        self.assertEqual(self.status_of(self.bobs), "PROCESSING")
        self.let_go.set()
        kept.finish()
        self.assertEqual(self.status_of(self.bobs), "COMPLETED")


class UnknownTestCase(LockingTestCase):
    """The outcomes of Bob's payout and Alice's are unknown; Bob's is due first."""

    abilities = LOOKS_UP_ONLY

    def setUp(self) -> None:
        super().setUp()
        self.bank = FakeBank(self.abilities)
        for seconds, withdrawal in enumerate((self.bobs, self.alices)):
            self.bank.script.append(Does.PAY_SILENTLY)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
            withdrawal.attempts.update(next_check_at=self.after(seconds))

    def resolve(self, *, limit: int = 100) -> int:
        later = self.after(settings.WITHDRAWAL_LEASE)
        return resolver.resolve_due(bank=self.bank, limit=limit, now=later)

    def hold_during(self, call: str) -> list[list[bool]]:
        """Lock Bob's rows during the first call of this kind; see `let_go_when`."""
        released: list[list[bool]] = []
        real, one = getattr(self.bank, call), threading.Lock()

        def called(*args: Any, **options: Any) -> Any:
            with one:
                if not self.held.is_set():
                    self.hold()
                    released.append(self.let_go_when(self.is_alices_completed))
            return real(*args, **options)

        self.enterContext(mock.patch.object(self.bank, call, called))
        return released


class BusyOutcomeTest(UnknownTestCase):
    """Bob's locked wallet, when the outcomes of his payout and Alice's are unknown…"""

    def test_does_not_delay_the_look_up_of_alices(self) -> None:
        self.hold()
        released = self.let_go_when(self.is_alices_completed)
        self.assertEqual(self.resolve(), 2)
        self.assertEqual(released, [True])
        self.assert_all_paid_once()

    def test_does_not_hide_alices_behind_bobs(self) -> None:
        self.hold()
        released = self.let_go_when(self.is_alices_completed)
        self.assertEqual(self.resolve(limit=1), 2)
        self.assertEqual(released, [True])

    def test_does_not_delay_the_record_of_the_answer_about_alices(self) -> None:
        released = self.hold_during("look_up")
        self.resolve()
        self.assertEqual(released, [[True]])
        self.assert_all_paid_once()

    def test_is_left_to_the_next_round_when_it_stays_locked(self) -> None:
        self.hold()
        be_impatient(self)
        with mock.patch.object(take, "take", wraps=take.take) as taking:
            self.assertEqual(self.resolve(), 1)
        waits = [call.kwargs["wait"] for call in taking.call_args_list]
        self.assertEqual(waits.count(True), 1)
        self.assertTrue(self.is_alices_completed())
        self.assertEqual(self.status_of(self.bobs), "PROCESSING")
        self.let_go.set()
        self.assertEqual(self.resolve(), 1)
        self.assert_all_paid_once()


class BusyWithdrawalTest(BusyOutcomeTest):
    """Bob's locked withdrawal, when the outcomes of both payouts are unknown…"""

    def locked(self) -> QuerySet[Any]:
        return Transaction.objects.filter(pk=self.bobs.pk)


class BusyAttemptTest(UnknownTestCase):
    """Bob's attempt, which only an UPDATE locks, as MariaDB's entries of indexes…"""

    def locked(self) -> QuerySet[Any]:
        return self.bobs.attempts.order_by("pk")

    def test_is_left_to_the_next_round_and_alices_is_not(self) -> None:
        self.hold()
        be_impatient(self)
        self.assertEqual(self.resolve(), 1)
        self.assertTrue(self.is_alices_completed())
        self.let_go.set()
        self.assertEqual(self.resolve(), 1)
        self.assert_all_paid_once()


class BusySecondRequestTest(BusyOutcomeTest):
    """Bob's locked wallet, at a bank that only repeats what it has answered…"""

    abilities = DEDUPES_ONLY

    def hold_during(self, call: str) -> list[list[bool]]:
        return super().hold_during("pay")


class LockedAnswerTest(UnknownTestCase):
    """What the bank said about Bob's payout…"""

    def test_is_asked_for_again_when_his_wallet_stays_locked(self) -> None:
        be_impatient(self)
        with mock.patch.object(self, "let_go_when"):
            self.hold_during("look_up")
            self.resolve()
        self.assertTrue(self.is_alices_completed())
        self.assertEqual(self.status_of(self.bobs), "PROCESSING")
        self.let_go.set()
        later = self.after(2 * settings.WITHDRAWAL_LEASE)
        resolver.resolve_due(bank=self.bank, limit=100, now=later)
        self.assert_all_paid_once()


class BusyWalletsTest(SimpleTestCase):
    """A locked wallet…"""

    def setUp(self) -> None:
        super().setUp()
        self.time = self.enterContext(StandingClock())
        self.let_go = threading.Event()
        self.busy = BusyWallets()
        self.addCleanup(self.busy.end)
        self.addCleanup(self.let_go.set)
        self.free: set[int] = set()
        self.asked: list[set[int]] = []
        self.taken: list[int] = []

    def ask_after(self, seconds: float) -> None:
        self.time.go_on(seconds)
        self.busy.ask_again(self.which_are_free, self.take)

    def which_are_free(self, wallets: set[int]) -> set[int]:
        self.asked.append(set(wallets))
        return wallets & self.free

    def take(self, wallet: int) -> None:
        self.let_go.wait(PATIENCE)
        self.taken.append(wallet)

    def test_is_left_out_until_it_is_free(self) -> None:
        self.assertTrue(self.busy.found({1, 2}))
        self.assertEqual(self.busy.left_out(), {1, 2})
        self.free = {2}
        self.ask_after(busy_wallets.AGAIN_SECONDS)
        self.assertEqual(self.busy.left_out(), {1})

    def test_is_asked_for_at_an_interval(self) -> None:
        self.busy.found([1])
        for _ in range(4):
            self.ask_after(busy_wallets.AGAIN_SECONDS / 2)
        self.assertEqual(self.asked, [{1}] * 2)

    def test_is_left_out_only_while_there_are_few(self) -> None:
        with mock.patch.object(busy_wallets, "MAX_LEFT_OUT", 2):
            self.assertTrue(self.busy.found([1, 2, 3]))
            self.assertEqual(self.busy.left_out(), {1, 2})
            self.assertFalse(self.busy.found([3]))

    def test_is_waited_for_when_it_was_locked_for_a_while(self) -> None:
        self.busy.found([1])
        self.ask_after(0)
        self.assertEqual(self.busy.waited_for(), set())
        self.ask_after(2 * busy_wallets.LOOKING_SECONDS)
        self.assertEqual(self.busy.waited_for(), {1})
        self.assertEqual(self.busy.left_out(), {1})
        self.let_go.set()
        self.busy.end()
        self.assertEqual((self.busy.waited_for(), self.taken), (set(), [1]))
        self.assertEqual(self.busy.left_out(), set())

    def test_is_waited_for_when_a_claim_finds_it_locked_again_and_again(self) -> None:
        """It is free whenever the sweep asks, and another request is quicker."""
        self.busy.found([1])
        self.free = {1}
        self.ask_after(2 * busy_wallets.LOOKING_SECONDS)
        self.busy.found([1])
        self.free = set()
        self.ask_after(busy_wallets.AGAIN_SECONDS)
        self.assertEqual(self.busy.waited_for(), {1})

    def test_is_not_waited_for_when_it_was_free_meanwhile(self) -> None:
        self.busy.found([1])
        self.free = {1}
        self.ask_after(2 * busy_wallets.LOOKING_SECONDS)
        self.busy.found([])
        self.time.go_on(busy_wallets.AGAIN_SECONDS)
        self.busy.found([1])
        self.free = set()
        self.ask_after(busy_wallets.LOOKING_SECONDS / 2)
        self.assertEqual(len(self.asked), 2)
        self.assertEqual(self.busy.waited_for(), set())

    def test_is_polled_when_the_most_threads_already_wait(self) -> None:
        many = set(range(1, busy_wallets.MAX_WAITING + 3))
        self.busy.found(many)
        self.ask_after(2 * busy_wallets.LOOKING_SECONDS)
        self.assertEqual(len(self.busy.waited_for()), busy_wallets.MAX_WAITING)
        self.ask_after(busy_wallets.AGAIN_SECONDS)
        self.assertEqual(self.asked, [many, many - self.busy.waited_for()])
        # There is still one more thread for other work.
        self.assertTrue(self.busy.leave(busy_wallets.FROZEN, lambda: self.take(0)))
        self.assertFalse(self.busy.leave(busy_wallets.FROZEN, lambda: self.take(0)))

    def test_is_polled_again_after_a_wait_in_vain(self) -> None:
        def fail(wallet: int) -> None:
            raise ValueError(wallet)

        self.busy.found([1])
        self.time.go_on(2 * busy_wallets.LOOKING_SECONDS)
        with self.assertLogs("wallets.services.payouts.busy_wallets", "ERROR"):
            self.busy.ask_again(self.which_are_free, fail)
            self.busy.end()
        self.assertEqual(self.busy.waited_for(), set())

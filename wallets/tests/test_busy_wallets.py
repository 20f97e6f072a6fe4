"""Wallets that another transaction locks: only their own payouts wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock, skipIf

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test import SimpleTestCase

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import busy_wallets, drain, resolver, sweeps, take
from wallets.services.payouts.busy_wallets import BusyWallets
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase, close_connections
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import DEDUPES_ONLY, LOOKS_UP_ONLY, Does, FakeBank
from wallets.tests.races import be_impatient
from wallets.utils.bank.interface import Payment
from wallets.utils.database.transactions import lock_rows

PATIENCE = 60.0
BOBS, ALICES = 20, 10


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
        self.taken: list[int] = []

    def found(self, *wallets: int) -> None:
        self.busy.found(wallets, self.take)

    def take(self, wallet: int) -> None:
        self.let_go.wait(PATIENCE)
        self.taken.append(wallet)

    def test_is_waited_for_when_it_was_locked_for_a_while(self) -> None:
        self.found(1)
        self.found(1)
        self.assertEqual(self.busy.waited_for(), set())
        self.time.go_on(2 * busy_wallets.LOOKING_SECONDS)
        self.found(1)
        self.assertEqual(self.busy.waited_for(), {1})
        self.let_go.set()
        self.busy.end()
        self.assertEqual((self.busy.waited_for(), self.taken), (set(), [1]))

    def test_is_not_waited_for_when_it_was_free_meanwhile(self) -> None:
        self.found(1)
        self.time.go_on(2 * busy_wallets.LOOKING_SECONDS)
        self.found()
        self.found(1)
        self.assertEqual(self.busy.waited_for(), set())

    def test_is_polled_when_the_most_threads_already_wait(self) -> None:
        many = range(1, busy_wallets.MAX_WAITING + 3)
        self.found(*many)
        self.time.go_on(2 * busy_wallets.LOOKING_SECONDS)
        self.found(*many)
        self.assertEqual(len(self.busy.waited_for()), busy_wallets.MAX_WAITING)
        # There is still one more thread for answers.
        self.assertTrue(self.busy.leave(busy_wallets.ANSWERS, lambda: self.take(0)))
        self.assertFalse(self.busy.leave(busy_wallets.ANSWERS, lambda: self.take(0)))

    def test_is_polled_again_after_a_wait_in_vain(self) -> None:
        def fail(wallet: int) -> None:
            raise ValueError(wallet)

        self.busy.found([1], fail)
        self.time.go_on(2 * busy_wallets.LOOKING_SECONDS)
        with self.assertLogs("wallets.services.payouts.busy_wallets", "ERROR"):
            self.busy.found([1], fail)
            self.busy.end()
        self.assertEqual(self.busy.waited_for(), set())

"""Wallets that another transaction locks: only their own payouts wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock, skipIf

from django.db import connection, transaction
from django.test import SimpleTestCase

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import busy_wallets, drain
from wallets.services.payouts.busy_wallets import BusyWallets
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.tests.base import CommittingTestCase, close_connections
from wallets.tests.clocks import StandingClock
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
class BusyWalletTest(CommittingTestCase):
    """Bob's locked wallet, when his payout is due, and Alice's after it…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000, self.bob)
        self.deposit(1000)
        self.bobs = self.due_withdrawal(BOBS, self.bob)
        self.alices = self.due_withdrawal(ALICES)
        self.sweep = Drain(find_due, bank=self.bank, seconds=PATIENCE)
        self.held, self.let_go = threading.Event(), threading.Event()
        self.addCleanup(self.let_go.set)

    def hold(self) -> None:
        """Lock Bob's wallet until it is released."""
        holder = threading.Thread(target=self._hold)
        holder.start()
        self.addCleanup(holder.join, PATIENCE)
        self.assertTrue(self.held.wait(PATIENCE))

    def _hold(self) -> None:
        with transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=self.bob.pk))
            self.held.set()
            self.let_go.wait(PATIENCE)
        close_connections()

    def status_of(self, withdrawal: Transaction) -> str:
        return Transaction.objects.values_list("status", flat=True).get(
            pk=withdrawal.pk
        )

    def assert_all_paid_once(self) -> None:
        for withdrawal in (self.bobs, self.alices):
            self.assertEqual(self.status_of(withdrawal), "COMPLETED")
        self.assertEqual(
            sorted(payment.amount for payment in self.bank.paid), [ALICES, BOBS]
        )

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
        meanwhile = []

        def record(results: Any, **options: Any) -> Any:
            if any(sent.payment.amount == BOBS for sent, _ in results):
                bobs_answered.set()
            return record_until(results, **options)

        def on_the_way(payment: Payment) -> None:
            if payment.amount == BOBS:
                self.hold()
                threading.Thread(target=let_go_when_alices_is_recorded).start()
            else:
                bobs_answered.wait(PATIENCE)

        def let_go_when_alices_is_recorded() -> None:
            meanwhile.append(
                wait_until(lambda: self.status_of(self.alices) == "COMPLETED")
            )
            meanwhile.append(self.status_of(self.bobs) == "PROCESSING")
            self.let_go.set()
            close_connections()

        self.bank.on_the_way = on_the_way
        with mock.patch.object(drain, "record_until", record):
            self.assertEqual(self.sweep.run(), 2)
        self.assertEqual(meanwhile, [True, True])
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

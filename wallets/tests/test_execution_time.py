"""The execution time of a payment: when it was sent to the bank."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from unittest import mock

from django.conf import settings
from django.db import transaction
from django.test import override_settings

from wallets.models.transaction import Transaction
from wallets.services.ledger import postings
from wallets.services.payouts import moment, payout
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.services.payouts.payout import Sending
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import BARE, FakeBank
from wallets.tests.marks import slow
from wallets.tests.simulator import Simulator
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.database.transactions import database_now
from wallets.utils.third_party import HttpBank

PATIENCE = 60.0
LATENCY = 0.4


@slow
class LockedWalletTest(CommittingTestCase):
    """A lock of the wallet during the claim of its withdrawal…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.due_withdrawal(10)

    def released_while(self, work: Callable[[], object]) -> datetime:
        """Do `work` while the wallet is locked; return when it was released."""
        held, claims, let_go = (threading.Event() for _ in range(3))

        def hold() -> None:
            with transaction.atomic():
                postings.lock_wallets([self.alice.pk])
                held.set()
                let_go.wait(PATIENCE)
            close_connections()

        def claim(*args: object, **options: object) -> payout.Claim:
            claims.set()
            return honest(*args, **options)  # type: ignore[arg-type]

        def begin() -> None:
            work()
            close_connections()

        honest = payout.claim
        threads = [threading.Thread(target=one) for one in (hold, begin)]
        threads[0].start()
        self.assertTrue(held.wait(PATIENCE))
        with mock.patch.object(payout, "claim", claim):
            threads[1].start()
            self.assertTrue(claims.wait(PATIENCE))
            time.sleep(1)  # the claim waits for this time
            released = database_now()
            let_go.set()
            for thread in threads:
                thread.join(PATIENCE)
        return released

    def assert_executed_after(self, moment: datetime) -> None:
        self.withdrawal.refresh_from_db()
        self.assertEqual(self.withdrawal.status, "COMPLETED")
        self.assertGreaterEqual(self.withdrawal.executed_at, moment)
        attempt = self.withdrawal.attempts.get()
        self.assertGreaterEqual(attempt.started_at, moment)
        lease = attempt.lease_expires_at - attempt.started_at
        self.assertEqual(lease.total_seconds(), settings.WITHDRAWAL_LEASE)

    def test_shows_in_what_a_sweep_pays(self) -> None:
        sweep = Drain(find_due, bank=self.bank, seconds=PATIENCE)
        self.assert_executed_after(self.released_while(sweep.run))

    def test_shows_in_what_is_paid_alone(self) -> None:
        pk = self.withdrawal.pk
        self.assert_executed_after(
            self.released_while(lambda: WithdrawalService.execute(pk, bank=self.bank))
        )


@slow
class QueueAtTheBankTest(WalletTestCase):
    """A queue at a bank that takes one call at a time…"""

    def setUp(self) -> None:
        super().setUp()
        self.simulator = Simulator()
        self.addCleanup(self.simulator.stop)
        self.simulator.change(latency=LATENCY)
        self.deposit(1000)

    def test_shows_in_each_that_waited_for_its_turn(self) -> None:
        withdrawals = {amount: self.due_withdrawal(amount) for amount in (1, 2, 3)}
        bank = HttpBank(
            self.simulator.url,
            abilities=BARE,
            deadline=PATIENCE,
            connect_timeout=PATIENCE,
            connections=1,
        )
        with override_settings(
            WITHDRAWAL_CONCURRENCY=3,
            WITHDRAWAL_LEASE=4 * PATIENCE,
            THIRD_PARTY_DEADLINE=PATIENCE,
        ):
            self.assertEqual(Drain(find_due, bank=bank, seconds=PATIENCE).run(), 3)
        executed = []
        for payment in self.simulator.payments():
            row = withdrawals[payment["amount"]]
            row.refresh_from_db()
            self.assertEqual(row.status, "COMPLETED")
            executed.append(row.executed_at)
        executed.sort()
        for one, next_one in pairwise(executed):
            self.assertGreaterEqual((next_one - one).total_seconds(), LATENCY)
        started = {row.attempts.get().started_at for row in withdrawals.values()}
        self.assertEqual(len(started), 1)


class MomentTest(WalletTestCase):
    """The moment of a payment…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def claimed(self) -> Sending:
        withdrawal = self.due_withdrawal(10)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        (sending,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.now
        ).sendings
        return sending

    def executed(self, sending: Sending, answer: Answer) -> datetime | None:
        payout.record([(sending, answer)], now=self.after(60))
        return Transaction.objects.get(pk=sending.attempt.transaction_id).executed_at

    def test_is_the_claims_and_what_passed_until_the_first_byte(self) -> None:
        sending = self.claimed()
        answer = Answer(Outcome.ACCEPTED, sent_at=sending.leased_at + 7)
        self.assertEqual(self.executed(sending, answer), self.after(7))

    def test_is_the_claims_if_the_first_byte_is_unknown(self) -> None:
        answer = Answer(Outcome.ACCEPTED)
        self.assertEqual(self.executed(self.claimed(), answer), self.now)

    def test_is_the_first_of_several_sends(self) -> None:
        sending = self.claimed()
        Transaction.objects.get(pk=sending.attempt.transaction_id).attempts.update(
            sends=2
        )
        again = payout.sending(
            Transaction.objects.get(pk=sending.attempt.transaction_id)
            .attempts.select_related("transaction__wallet")
            .get(),
            clock.elapsed(),
        )
        answer = Answer(Outcome.ACCEPTED, sent_at=again.leased_at + 7)
        self.assertEqual(self.executed(again, answer), self.now)

    def test_leaves_no_right_to_send_beyond_the_lease_in_the_books(self) -> None:
        """Also if the locks, and the query of the time, take long."""
        with StandingClock() as time_stands:
            began = clock.elapsed()

            def lock(*args: object, **options: object) -> object:
                time_stands.go_on(5)
                return honest(*args, **options)  # type: ignore[arg-type]

            def slow_now() -> datetime:
                shown = self.now + timedelta(seconds=clock.elapsed() - began)
                time_stands.go_on(3)
                return shown

            honest = postings.lock_wallets
            rows = Transaction.objects.filter(pk=self.due_withdrawal(10).pk)
            with (
                mock.patch.object(payout.postings, "lock_wallets", lock),
                mock.patch.object(moment, "database_now", slow_now),
            ):
                (sending,) = payout.claim(
                    rows, bank=self.bank.abilities, limit=1
                ).sendings
        self.assertEqual(sending.attempt.started_at, self.after(5))
        ends = began + 5 + settings.WITHDRAWAL_LEASE
        self.assertEqual(sending.lease_ends, ends)
        latest = ends - 2 * settings.THIRD_PARTY_DEADLINE
        self.assertEqual(sending.send_before, latest)


class FakeBankTest(WalletTestCase):
    def test_reports_no_first_byte(self) -> None:
        """So a test that gives a time gets it as the execution time."""
        self.deposit(10)
        withdrawal = self.due_withdrawal(10)
        done = WithdrawalService.execute(
            withdrawal.pk, bank=FakeBank(), now=self.after(3)
        )
        self.assertEqual(done.executed_at, self.after(3))

"""The bank's answers are recorded, also after an outage or when a worker is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock, skipUnless

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.test import override_settings

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.payouts import payout, resolver
from wallets.services.payouts.claiming import Claiming, find_due
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.fakes import BARE, DEDUPES_ONLY, Does, FakeBank, InThisThread
from wallets.tests.marks import slow
from wallets.tests.outages import Outage, refusals
from wallets.utils.bank.interface import Answer, Outcome, Payment
from wallets.utils.database import outage as outage_module
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import stopping

PATIENCE = 60.0
FAILOVER = 30.0
FOREVER = 10**6


class RecordingTestCase(CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        stopped = mock.patch.object(outage_module, "_stopping_since", None)
        stopped.start()
        self.addCleanup(stopped.stop)
        self.bank = FakeBank(BARE)
        self.deposit(1000)

    def drain(self) -> int:
        return Drain(find_due, bank=self.bank, seconds=PATIENCE).run()

    def drain_through(self) -> None:
        """Drain; a query for due withdrawals during the outage may end the drain."""
        with contextlib.suppress(DatabaseError, InterfaceError):
            self.drain()

    def due(self, count: int) -> None:
        for _ in range(count):
            self.due_withdrawal(1)

    def statuses(self) -> set[str]:
        rows = Transaction.objects.filter(transaction_type="WITHDRAWAL")
        return set(rows.values_list("status", flat=True))

    def assert_all_paid_once(self) -> None:
        self.assertEqual(self.statuses(), {"COMPLETED"})
        paid = self.bank.paid_references()
        self.assertEqual(len(paid), len(set(paid)))
        self.assertEqual(Attempt.objects.count(), len(paid))


@marks.slow
class OutageTest(RecordingTestCase):
    """An outage of the database, which begins when the bank has the request…"""

    def outages(self) -> Iterator[Outage]:
        for name, refusal in refusals().items():
            with self.subTest(name), Outage(refusal, FAILOVER) as outage:
                self.bank.on_the_way = outage.begin
                yield outage
                self.assertGreater(outage.refused, 1)

    @contextlib.contextmanager
    def outage(self, seconds: float = FAILOVER) -> Iterator[Outage]:
        """An outage of one kind; it ends with the block."""
        with Outage(next(iter(refusals().values())), seconds) as outage:
            self.bank.on_the_way = outage.begin
            yield outage

    def test_of_half_a_minute_costs_a_sweep_no_review(self) -> None:
        for _ in self.outages():
            self.due(4)
            self.drain_through()
            self.assert_all_paid_once()

    def test_of_half_a_minute_costs_a_single_payment_no_review(self) -> None:
        for _ in self.outages():
            pk = self.due_withdrawal(1).pk
            # The returned row is read after the record, when the database is back.
            self.assertEqual(
                WithdrawalService.execute(pk, bank=self.bank).status, "COMPLETED"
            )
            self.assert_all_paid_once()

    def test_of_half_a_minute_loses_no_answer_of_a_repeated_send(self) -> None:
        self.bank = FakeBank(DEDUPES_ONLY)
        for outage in self.outages():
            self.bank.on_the_way = lambda payment: None
            withdrawal = self.due_withdrawal(1)
            self.bank.script.append(Does.PAY_SILENTLY)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank)
            Attempt.objects.filter(transaction=withdrawal).update(
                next_check_at=database_now()
            )
            self.bank.on_the_way = outage.begin
            with mock.patch.object(resolver, "ThreadPoolExecutor", InThisThread):
                resolver.resolve_due(bank=self.bank, limit=9)
            withdrawal.refresh_from_db()
            self.assertEqual(withdrawal.status, "COMPLETED")

    def test_of_half_a_minute_loses_no_proof_of_a_refund(self) -> None:
        for outage in self.outages():
            withdrawal = self.due_withdrawal(1)
            rows = Transaction.objects.filter(pk=withdrawal.pk)
            (sending,) = payout.claim(rows, bank=self.bank.abilities, limit=1).sendings
            outage.begin()
            done = WithdrawalService.refund(
                withdrawal.pk,
                Answer(Outcome.REJECTED),
                reference=sending.payment.reference,
            )
            self.assertEqual(done.status, "FAILED")

    def test_longer_than_the_lease_ends_the_wait_with_evidence(self) -> None:
        withdrawal = self.due_withdrawal(1)
        with (
            self.outage(FOREVER) as outage,
            self.assertLogs("wallets.services.payouts.recording", "ERROR") as logs,
            self.assertRaises((DatabaseError, InterfaceError)),
        ):
            self.drain()
        reference = str(withdrawal.attempts.get().reference)
        told = {record.reference for record in logs.records}  # type: ignore[attr-defined]
        self.assertEqual(told, {reference})
        self.assertEqual(self.statuses(), {"PROCESSING"})
        self.assertGreaterEqual(self.waited(outage), settings.WITHDRAWAL_LEASE - 1)
        self.assertLess(self.waited(outage), settings.WITHDRAWAL_LEASE + 10)

    def waited(self, outage: Outage) -> float:
        assert outage.began is not None
        return outage.clock.elapsed() - outage.began

    def stopped_when_asked(self) -> Any:
        """Stop the worker as soon as the bank has paid."""

        def wait(seconds: float) -> bool:
            return bool(self.bank.paid)

        return mock.patch.object(stopping, "wait", wait)

    def test_while_the_worker_stops_is_waited_for_a_bounded_time(self) -> None:
        self.due(1)
        with (
            self.outage(FOREVER) as outage,
            self.stopped_when_asked(),
            self.assertRaises((DatabaseError, InterfaceError)),
            self.assertLogs("wallets.services.payouts.recording", "ERROR"),
        ):
            self.drain()
        patience = settings.WITHDRAWAL_RECORDING_TIME
        self.assertGreaterEqual(self.waited(outage), patience - 1)
        self.assertLess(self.waited(outage), patience + 10)

    def test_of_a_moment_while_the_worker_stops_loses_nothing(self) -> None:
        self.due(3)
        with (
            self.outage(settings.WITHDRAWAL_RECORDING_TIME - 5) as outage,
            self.stopped_when_asked(),
        ):
            self.drain_through()
        self.assertGreater(outage.refused, 1)
        self.assertLessEqual(self.statuses(), {"COMPLETED", "PENDING"})
        self.drain()
        self.assert_all_paid_once()

    def test_stops_claims_until_it_ends(self) -> None:
        claims = []

        def claim(*args: Any, **options: Any) -> payout.Claim:
            claims.append(outage.lasts)
            return honest(*args, **options)

        honest = payout.claim
        self.due(6)
        with (
            self.outage() as outage,
            override_settings(WITHDRAWAL_CONCURRENCY=1),
            mock.patch.object(payout, "claim", claim),
        ):
            self.drain_through()
            outage.end()
            self.drain()
        self.assertGreater(len(claims), 1)
        self.assertNotIn(True, claims)
        self.assert_all_paid_once()

    def test_loses_no_answers_that_come_meanwhile(self) -> None:
        others = threading.Event()

        def on_the_way(payment: Payment) -> None:
            if payment.amount == 1:
                outage.begin()
            else:
                others.wait(PATIENCE)

        def refused(refusal: Exception) -> None:
            others.set()  # they are answered before the first is recorded

        for amount in (1, 2, 2, 2):
            self.due_withdrawal(amount)
        with self.outage() as outage:
            outage.on_refusal = refused
            self.bank.on_the_way = on_the_way
            self.drain_through()
        self.assert_all_paid_once()


class EndedSweepTest(RecordingTestCase):
    """A sweep that ends with an error…"""

    def test_records_the_open_calls(self) -> None:
        """One query for due withdrawals fails."""
        failed = threading.Event()

        def until_due(claiming: Claiming) -> float:
            failed.set()
            raise DatabaseError("gone")

        def on_the_way(payment: Payment) -> None:
            failed.wait(PATIENCE)

        self.bank.on_the_way = on_the_way
        self.due(5)
        with (
            mock.patch.object(Claiming, "_until_due", until_due),
            self.assertRaises(DatabaseError),
        ):
            self.drain()
        self.assert_all_paid_once()

    def test_has_no_answer_of_a_client_that_broke_and_records_the_others(self) -> None:
        def on_the_way(payment: Payment) -> None:
            if payment.amount == 2:
                raise ZeroDivisionError

        self.bank.on_the_way = on_the_way
        for amount in (1, 2, 1):
            self.due_withdrawal(amount)
        with self.assertLogs("wallets.services.payouts.calls", "ERROR"):
            self.assertEqual(self.drain(), 3)
        unknown = Transaction.objects.get(unknown_since__isnull=False)
        self.assertEqual(unknown.amount, 2)
        self.assertEqual(len(self.bank.paid), 2)

    def test_records_the_others_when_a_row_is_missing(self) -> None:
        """The error is not one of the usual errors of damaged rows."""
        self.books_must_be_right = False
        self.due(3)
        claim = payout.claim(find_due(self.now), bank=self.bank.abilities, limit=9)
        results = [(sent, Answer(Outcome.ACCEPTED)) for sent in claim.sendings]
        first = claim.sendings[0].attempt.transaction_id
        Attempt.objects.filter(transaction=first).delete()
        from wallets.services.payouts.recording import record_until

        with self.assertLogs("wallets.services.payouts.recording", "ERROR"):
            record_until(results)
        paid = Transaction.objects.filter(
            status="COMPLETED", transaction_type="WITHDRAWAL"
        )
        self.assertEqual(paid.count(), 2)


class DoubtfulClaimTest(RecordingTestCase):
    """An outage of the database during the COMMIT of a claim…"""

    def lose(self, outage: Outage, *, happens: bool) -> Any:
        """Lose the answer to the next COMMIT, which is done or not."""
        honest = connection._commit  # type: ignore[attr-defined]

        def commit() -> None:
            if outage.began is not None:
                honest()
                return
            outage.begin()
            if happens:
                honest()
            with connection.wrap_database_errors:
                raise outage._refusal

        return mock.patch.object(connection, "_commit", commit)

    def refusal(self) -> Exception:
        return next(iter(refusals().values()))

    def test_that_was_done_sends_what_is_certainly_unsent(self) -> None:
        self.due(3)
        with Outage(self.refusal(), FAILOVER) as outage:
            with self.lose(outage, happens=True):
                self.assertEqual(self.drain(), 3)
            self.assertGreater(outage.refused, 1)
        self.assert_all_paid_once()

    def test_that_was_not_done_sends_nothing(self) -> None:
        self.due(3)
        with (
            Outage(self.refusal(), FAILOVER) as outage,
            self.lose(outage, happens=False),
            self.assertRaises((DatabaseError, InterfaceError)),
        ):
            self.drain()
        self.assertEqual(self.bank.requests, [])
        self.assertEqual(self.statuses(), {"PENDING"})
        self.assertEqual(self.drain(), 3)
        self.assert_all_paid_once()


def in_the_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@skipUnless(in_the_main_thread(), "signals reach the main thread only")
@slow
class SoftLimitTest(RecordingTestCase):
    """Celery's soft limit, an exception at any point of the main thread…"""

    def setUp(self) -> None:
        super().setUp()

        def over(*_: object) -> None:
            raise SoftTimeLimitExceeded

        before = signal.signal(signal.SIGUSR1, over)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def strike_at(self, number: int) -> Any:
        """Exceed the limit at the N-th statement; answers come before and after it."""
        seen = 0

        def execute(execute: Any, *args: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGUSR1)
            self.seen = seen
            return execute(*args)

        return connection.execute_wrapper(execute)

    def check_each_statement(self, work: Callable[[], object]) -> None:
        number = 0
        while True:
            number += 1
            self.due(3)
            with (
                self.subTest(statement=number),
                self.strike_at(number),
                contextlib.suppress(SoftTimeLimitExceeded),
            ):
                work()
                if self.seen < number:
                    self.assertGreater(number, 10)
                    return
            # The next sweep pays what was not claimed.
            self.assertLessEqual(self.statuses(), {"COMPLETED", "PENDING"})
            self.drain()
            self.assert_all_paid_once()

    def test_at_any_statement_of_a_sweep_loses_no_answer(self) -> None:
        self.check_each_statement(self.drain)

    def test_at_any_statement_of_a_single_payment_loses_no_answer(self) -> None:
        def single() -> None:
            pending = Transaction.objects.filter(status="PENDING").earliest("pk")
            WithdrawalService.execute(pending.pk, bank=self.bank)

        self.check_each_statement(single)

    def test_during_the_calls_loses_no_answer(self) -> None:
        strikes = iter([True])

        def on_the_way(payment: Payment) -> None:
            for _ in strikes:
                os.kill(os.getpid(), signal.SIGUSR1)

        self.bank.on_the_way = on_the_way
        self.due(5)
        with (
            override_settings(WITHDRAWAL_CONCURRENCY=2),
            self.assertRaises(SoftTimeLimitExceeded),
        ):
            self.drain()
        self.assertLessEqual(self.statuses(), {"COMPLETED", "PENDING"})
        self.assertIn("PENDING", self.statuses())

    def test_during_an_outage_ends_the_wait(self) -> None:
        self.due(1)
        with Outage(next(iter(refusals().values())), FOREVER) as outage:
            self.bank.on_the_way = outage.begin

            def sleep(seconds: float) -> None:
                outage.clock.go_on(seconds)
                if outage.clock.elapsed() > (outage.began or 0) + 20:
                    os.kill(os.getpid(), signal.SIGUSR1)

            with (
                mock.patch("time.sleep", sleep),
                self.assertLogs("wallets.services.payouts.recording", "ERROR"),
                self.assertRaises(SoftTimeLimitExceeded),
            ):
                self.drain()
            waited = outage.clock.elapsed() - (outage.began or 0)
            self.assertLess(waited, 30)
            outage.end()

    def test_is_raised_where_it_is_not_deferred(self) -> None:
        with self.assertRaises(SoftTimeLimitExceeded):
            os.kill(os.getpid(), signal.SIGUSR1)

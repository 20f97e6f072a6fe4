"""Drains: on time, many calls at once, no busy loops, and an end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from datetime import datetime, timedelta
from unittest import mock, skipIf, skipUnless

from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from wallets.errors import InsideTransaction
from wallets.models.heartbeat import Heartbeat
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import drain, payout, resolver, sweeps
from wallets.services.payouts.claiming import find_due, find_retryable
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.clocks import StandingClock
from wallets.tests.fakes import BARE, LOOKS_UP_ONLY, Does, FakeBank, InThisThread
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Payment
from wallets.utils.database.transactions import database_now, lock_rows, read_by_index

NO_TIME = 0.0
# A drain ends by itself when nothing becomes due; a busy machine may begin late.
PATIENCE = 60.0


class DrainTestCase(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def drain(self, seconds: float = NO_TIME, find=find_due) -> int:
        return Drain(find, bank=self.bank, seconds=seconds).run()

    def statuses(self) -> list[str]:
        rows = Transaction.objects.filter(transaction_type="WITHDRAWAL")
        return list(rows.order_by("pk").values_list("status", flat=True))

    def soon(self, seconds: float) -> Transaction:
        """Return a withdrawal that becomes due after these seconds of real time."""
        when = database_now() + timedelta(seconds=seconds)
        return WithdrawalService.schedule(self.alice.uuid, 1, when)


class DrainTest(DrainTestCase):
    def test_pays_all_that_is_due(self):
        for _ in range(5):
            self.due_withdrawal(10)
        self.assertEqual(self.drain(PATIENCE), 5)
        self.assertEqual(self.statuses(), ["COMPLETED"] * 5)
        self.assertEqual(len(self.bank.paid), 5)

    def test_goes_through_more_than_a_batch(self):
        with override_settings(WITHDRAWAL_BATCH_SIZE=3, WITHDRAWAL_CONCURRENCY=2):
            for _ in range(10):
                self.due_withdrawal(10)
            self.assertEqual(self.drain(PATIENCE), 10)
        self.assertEqual(len(set(self.bank.paid_references())), 10)

    def test_is_not_stopped_by_those_without_money(self):
        rows = [self.due_withdrawal(amount) for amount in (10**9, 10, 10**9, 10)]
        self.assertEqual(self.drain(PATIENCE), len(rows))
        self.assertEqual(self.statuses(), ["FAILED", "COMPLETED"] * 2)

    def test_records_each_by_its_own_answer(self):
        for _ in range(4):
            self.due_withdrawal(10)
        does = [Does.PAY, Does.REFUSE, Does.LOSE, Does.UNREACHABLE]
        self.bank.script.extend(does)
        self.drain(PATIENCE)
        self.assertEqual(
            sorted(self.statuses()), ["COMPLETED", "FAILED", "FAILED", "PROCESSING"]
        )

    def slept(self, sleep: mock.Mock) -> float:
        """Return the requested seconds of sleep; a busy machine may sleep longer."""
        return sum(call.args[0] for call in sleep.mock_calls)

    @marks.slow
    def test_pays_at_its_time_what_becomes_due_meanwhile(self):
        withdrawal = self.soon(0.6)
        with mock.patch.object(
            drain.stopping, "wait", wraps=drain.stopping.wait
        ) as sleep:
            self.assertEqual(self.drain(PATIENCE), 1)
        withdrawal.refresh_from_db()
        self.assertGreaterEqual(withdrawal.executed_at, withdrawal.scheduled_for)
        self.assertLess(self.slept(sleep), 1)

    def test_ends_at_once_when_nothing_becomes_due_in_its_time(self):
        self.soon(2 * PATIENCE)
        with mock.patch.object(
            drain.stopping, "wait", wraps=drain.stopping.wait
        ) as sleep:
            self.assertEqual(self.drain(PATIENCE), 0)
        self.assertEqual(self.slept(sleep), 0)
        self.assertEqual(self.statuses(), ["PENDING"])

    def test_claims_nothing_after_its_time(self):
        self.due_withdrawal(10)
        self.assertEqual(self.drain(NO_TIME), 0)

    def test_takes_retries_only_from_its_own_sweep(self):
        failed = self.due_withdrawal(10)
        self.bank.script.append(Does.REFUSE)
        self.drain(PATIENCE)
        Transaction.objects.filter(pk=failed.pk).update(next_attempt_at=self.now)
        self.due_withdrawal(10)
        self.assertEqual(self.drain(PATIENCE, find=find_retryable), 1)
        self.assertEqual(self.statuses(), ["COMPLETED", "PENDING"])
        self.assertEqual(self.drain(PATIENCE), 1)

    def test_makes_a_retry_that_a_wrong_clock_has_planned(self):
        """The database's clock was a year ahead for a moment, when it was refused."""
        ahead = self.after(365 * 86400)
        failed = self.refused_withdrawal(10, at=ahead)
        self.assertEqual(failed.status, "FAILED")
        self.assertGreater(failed.next_attempt_at, ahead)
        self.assertEqual(self.drain(PATIENCE, find=find_retryable), 1)
        self.assertEqual(self.statuses(), ["COMPLETED"])

    def test_makes_a_retry_beyond_a_limit_that_was_lowered(self):
        failed = self.refused_withdrawal(10, at=self.now)
        Transaction.objects.filter(pk=failed.pk).update(next_attempt_at=self.now)
        self.bank.script.append(Does.REFUSE)
        with override_settings(WITHDRAWAL_MAX_RETRIES=0):
            self.assertEqual(self.drain(PATIENCE, find=find_retryable), 1)
        failed.refresh_from_db()
        self.assertTrue(failed.final)

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_does_nothing_while_paused(self):
        self.due_withdrawal(10)
        self.assertEqual(self.drain(PATIENCE), 0)

    def test_refuses_to_run_inside_a_transaction(self):
        with self.assertRaises(InsideTransaction), transaction.atomic():
            self.drain(PATIENCE)

    def test_ends_when_the_worker_is_stopped_with_its_calls_recorded(self):
        self.due_withdrawal(10)
        self.soon(PATIENCE)

        def stopped(seconds: float) -> bool:
            return len(self.bank.paid) > 0

        with mock.patch.object(drain.stopping, "wait", stopped):
            self.assertEqual(self.drain(2 * PATIENCE), 1)
        self.assertEqual(self.statuses(), ["COMPLETED", "PENDING"])


class ConcurrencyTest(DrainTestCase):
    def occupy(self, payment: Payment) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == 8:
                self.all_inside.set()
        self.all_inside.wait(PATIENCE)
        time.sleep(0.05)  # so that one call too many would be counted
        with self.lock:
            self.inside -= 1

    @marks.slow
    def test_calls_many_at_once_and_no_more_than_allowed(self):
        self.lock, self.inside, self.most = threading.Lock(), 0, 0
        self.all_inside = threading.Event()
        self.bank.on_the_way = self.occupy
        for _ in range(40):
            self.due_withdrawal(1)
        with override_settings(WITHDRAWAL_CONCURRENCY=8):
            self.assertEqual(self.drain(PATIENCE), 40)
        self.assertEqual(self.most, 8)

    def test_does_not_wait_for_the_slowest_before_it_takes_more(self):
        """One call hangs, while nine others are made."""
        self.let_go = threading.Event()
        paid_meanwhile = []

        def on_the_way(payment: Payment) -> None:
            if payment.amount == 2:
                paid_meanwhile.append(self.let_go.wait(PATIENCE))
            elif len(self.bank.paid) >= 8:
                self.let_go.set()

        self.bank.on_the_way = on_the_way
        self.due_withdrawal(2)
        for _ in range(9):
            self.due_withdrawal(1)
        with override_settings(WITHDRAWAL_CONCURRENCY=2, WITHDRAWAL_BATCH_SIZE=2):
            self.assertEqual(self.drain(PATIENCE), 10)
        self.assertEqual(paid_meanwhile, [True])

    def test_claims_more_before_the_callers_are_idle(self):
        """The first two calls end only when five withdrawals are claimed."""
        claimed, claimed_five = [], threading.Event()

        def claim(*args, **options) -> payout.Claim:
            claim = payout_claim(*args, **options)
            claimed.extend(claim.sendings)
            if len(claimed) >= 5:
                claimed_five.set()
            return claim

        in_time = []
        self.bank.on_the_way = lambda _: in_time.append(claimed_five.wait(PATIENCE))
        for _ in range(6):
            self.due_withdrawal(1)
        payout_claim = payout.claim
        with (
            override_settings(WITHDRAWAL_CONCURRENCY=2, WITHDRAWAL_BATCH_SIZE=2),
            mock.patch.object(payout, "claim", claim),
        ):
            self.assertEqual(self.drain(PATIENCE), 6)
        self.assertEqual(in_time, [True] * 6)

    def test_claims_only_what_it_calls_at_a_bare_bank(self):
        at_most = []

        def claim(*args, **options) -> payout.Claim:
            at_most.append(options["limit"] + sweep._unanswered())
            return payout_claim(*args, **options)

        self.bank = FakeBank(BARE)
        for _ in range(9):
            self.due_withdrawal(1)
        payout_claim = payout.claim
        with (
            override_settings(WITHDRAWAL_CONCURRENCY=3),
            mock.patch.object(payout, "claim", claim),
        ):
            sweep = Drain(find_due, bank=self.bank, seconds=PATIENCE)
            self.assertEqual(sweep.run(), 9)
        self.assertEqual(max(at_most), 3)

    def test_records_together_what_is_answered_while_it_gathers(self):
        """One is answered at once, the others before its answer is recorded."""
        sweep = Drain(find_due, bank=self.bank, seconds=PATIENCE)
        gathers = threading.Event()

        def gather(seconds: float) -> None:
            gathers.set()
            ends = time.monotonic() + PATIENCE
            while sweep._answered.qsize() < 3 and time.monotonic() < ends:
                time.sleep(0.001)

        self.bank.on_the_way = lambda payment: (
            payment.amount == 1 or gathers.wait(PATIENCE)
        )
        for amount in (1, 2, 2, 2):
            self.due_withdrawal(amount)
        with (
            mock.patch.object(drain, "time", mock.Mock(sleep=gather)),
            mock.patch.object(payout, "record", wraps=payout.record) as record,
        ):
            self.assertEqual(sweep.run(), 4)
        self.assertEqual(record.call_count, 1)
        self.assertEqual(self.statuses(), ["COMPLETED"] * 4)


class OnTimeTest(DrainTestCase):
    @marks.slow
    def test_claims_what_is_due_in_a_moment_before_it_records(self):
        """One is answered just before another one becomes due."""
        order = []

        def noted(what, function):
            def note(*args, **options):
                made = function(*args, **options)
                order.append(what)
                return made

            return note

        self.due_withdrawal(1)
        self.soon(0.3)
        with (
            mock.patch.object(drain, "SOON_SECONDS", PATIENCE),
            mock.patch.object(payout, "claim", noted("claim", payout.claim)),
            mock.patch.object(payout, "record", noted("record", payout.record)),
        ):
            self.assertEqual(self.drain(PATIENCE), 2)
        self.assertEqual(order[:2], ["claim", "claim"])
        self.assertIn("record", order)
        self.assertEqual(self.statuses(), ["COMPLETED"] * 2)


class NoBusyLoopTest(DrainTestCase):
    """A drain that waits uses little CPU."""

    @marks.slow
    def test_waits_for_its_last_answer_without_many_queries(self):
        """Its time is over, one call is open, and another withdrawal has become due."""
        time_passes, waits, turns = StandingClock(), threading.Event(), []
        wait_for_answers = Drain._wait_for_answers

        def turn(sweep: Drain, over: bool) -> list[Future[Answer]]:
            waits.set()
            turns.append(over)
            return wait_for_answers(sweep, over)

        def on_the_way(payment: Payment) -> None:
            waits.wait(PATIENCE)
            time_passes.go_on(2 * PATIENCE)
            time.sleep(0.5)  # long enough for many turns of a busy loop

        def now() -> datetime:
            return self.now + timedelta(seconds=clock.elapsed() - began)

        self.bank.on_the_way = on_the_way
        self.due_withdrawal(1)
        self.soon(PATIENCE / 2)
        with (
            time_passes,
            override_settings(WITHDRAWAL_POLL=0.05),
            mock.patch.object(Drain, "_wait_for_answers", turn),
        ):
            began = clock.elapsed()
            sweep = Drain(find_due, bank=self.bank, seconds=PATIENCE, now=now)
            self.assertEqual(sweep.run(), 1)
        self.assertLess(turns.count(True), 10)


@skipIf(connection.vendor == "sqlite", "no row locks: the transaction is the lock")
class LockedRowsTest(CommittingTestCase):
    def test_are_left_to_their_holder_without_many_queries(self):
        """Another worker is frozen during its claim."""
        self.deposit(1000)
        withdrawal = self.due_withdrawal(10)
        builders.due_withdrawal(self.alice, 20, due=self.now)
        locked, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                lock_rows(Transaction.objects.filter(pk=withdrawal.pk))
                locked.set()
                let_go.wait(PATIENCE)
            close_connections()

        holder = threading.Thread(target=hold)
        holder.start()
        self.assertTrue(locked.wait(PATIENCE))
        with (
            StandingClock() as time_stands,
            mock.patch.object(payout, "claim", wraps=payout.claim) as claim,
        ):
            self.bank.on_the_way = lambda payment: time_stands.run()
            claimed = Drain(find_due, bank=self.bank, seconds=1).run()
        self.assertTrue(holder.is_alive())
        let_go.set()
        holder.join(PATIENCE)
        self.assertEqual(claimed, 1)
        self.assertEqual([payment.amount for payment in self.bank.paid], [20])
        self.assertLess(claim.call_count, 120)


@skipUnless(connection.vendor == "postgresql", "PostgreSQL's planner")
class DueQueueTest(DrainTestCase):
    books_must_be_right = False

    def rows(self, kind: str, **columns) -> None:
        Transaction.objects.bulk_create(
            Transaction(wallet=self.alice, transaction_type=kind, amount=1, **columns)
            for _ in range(3000)
        )

    def test_is_read_by_its_index_whatever_the_planner_expects(self):
        """At the last ANALYZE, no row of the table was due."""
        self.rows("DEPOSIT", status="COMPLETED", executed_at=self.now)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE wallets_transaction")
        self.rows("WITHDRAWAL", scheduled_for=self.now)
        with transaction.atomic(), read_by_index():
            plan = find_due(self.after(1))[:32].explain()
        # Both have what is due in the order of its time.
        self.assertRegex(plan, "Index Scan using transaction_(to_pay|of_withdrawals)")
        self.assertNotIn("Sort", plan)


class SameThreadBank(FakeBank):
    """A bank whose calls run in the test's thread, inside the test's transaction."""

    def pay_later(self, payment: Payment, *, send_before: float) -> Future[Answer]:
        future: Future[Answer] = Future()
        future.set_result(self.pay(payment, send_before=send_before))
        return future


class StatementsTest(DrainTestCase):
    """A drain's statements…"""

    def test_read_each_table_by_itself(self) -> None:
        """In a join, wrong estimates made PostgreSQL read the whole table."""
        self.bank = SameThreadBank(LOOKS_UP_ONLY)
        for _ in range(3):
            self.due_withdrawal(10)
        with CaptureQueriesContext(connection) as ran:
            self.assertEqual(self.drain(PATIENCE), 3)
        asked = [query["sql"] for query in ran if query["sql"].startswith("SELECT")]
        self.assertTrue(
            any('"wallets_attempt"' in sql.replace("`", '"') for sql in asked)
        )
        self.assertEqual([sql for sql in asked if " JOIN " in sql], [])


class DamagedWalletTest(DrainTestCase):
    """A wallet was changed by SQL, so that each new movement breaks a constraint."""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.bank = SameThreadBank(LOOKS_UP_ONLY)
        self.deposit(1000, self.bob)

    def damage(self, payment: Payment | None = None) -> None:
        Wallet.objects.filter(pk=self.bob.pk).update(movement_count=0)

    def withdrawals(self) -> None:
        for wallet in (self.bob, self.alice, self.bob, self.alice):
            self.due_withdrawal(10, wallet)

    def test_does_not_keep_others_from_being_claimed(self):
        self.withdrawals()
        self.damage()
        with override_settings(WITHDRAWAL_BATCH_SIZE=2, WITHDRAWAL_CONCURRENCY=1):
            self.assertEqual(self.drain(PATIENCE), 2)
        self.assertEqual(self.statuses(), ["PENDING", "COMPLETED"] * 2)

    def test_does_not_keep_others_from_being_recorded(self):
        self.withdrawals()
        self.bank.on_the_way = self.damage
        self.assertEqual(self.drain(PATIENCE), 4)
        self.assertEqual(self.statuses(), ["PROCESSING", "COMPLETED"] * 2)

    def test_does_not_keep_others_from_being_resolved(self):
        self.withdrawals()
        self.bank.script.extend([Does.PAY_SILENTLY] * 4)
        self.drain(PATIENCE)
        self.damage()
        with mock.patch.object(resolver, "ThreadPoolExecutor", InThisThread):
            resolver.resolve_due(bank=self.bank, limit=9, now=self.after(3600))
        self.assertEqual(self.statuses(), ["PROCESSING", "COMPLETED"] * 2)


class SweepsTest(DrainTestCase):
    def test_leave_a_heartbeat(self):
        for name, sweep in (
            ("pending", sweeps.pay_pending),
            ("retry", sweeps.pay_retries),
            ("resolve", sweeps.resolve_unknown),
        ):
            with self.subTest(name):
                sweep(bank=self.bank)
                beat = Heartbeat.objects.get(name=name)
                self.assertLess(abs(beat.ran_at - database_now()), timedelta(seconds=9))
                self.assertIn("worker", beat.by)

    def test_resolve_all_that_is_due_in_batches(self):
        for _ in range(5):
            self.due_withdrawal(1)
        self.bank.script.extend([Does.PAY_SILENTLY] * 5)
        self.drain(PATIENCE)
        from wallets.models.attempt import Attempt

        Attempt.objects.update(next_check_at=self.now)
        with override_settings(WITHDRAWAL_BATCH_SIZE=2):
            self.assertEqual(sweeps.resolve_unknown(bank=self.bank), 5)
        self.assertEqual(self.statuses(), ["COMPLETED"] * 5)


class ExecuteSingleTest(DrainTestCase):
    def execute(self, pk: int) -> str | None:
        return sweeps.execute_single(pk, bank=self.bank)

    def test_pays_what_is_due(self):
        self.assertEqual(self.execute(self.due_withdrawal(1).pk), "COMPLETED")

    @marks.slow
    def test_waits_for_one_that_is_due_in_a_moment(self):
        withdrawal = self.soon(0.3)
        self.assertEqual(self.execute(withdrawal.pk), "COMPLETED")
        withdrawal.refresh_from_db()
        self.assertGreaterEqual(withdrawal.executed_at, withdrawal.scheduled_for)

    def test_leaves_what_is_much_too_early(self):
        self.assertEqual(self.execute(self.soon(60).pk), "PENDING")

    def test_returns_the_status_when_there_is_nothing_to_do(self):
        withdrawal = self.due_withdrawal(1)
        self.execute(withdrawal.pk)
        self.assertEqual(self.execute(withdrawal.pk), "COMPLETED")
        self.assertEqual(len(self.bank.paid), 1)
        cancelled = WithdrawalService.cancel(self.due_withdrawal(1).pk)
        self.assertEqual(self.execute(cancelled.pk), "CANCELLED")
        self.assertIsNone(self.execute(10**9))
        self.assertIsNone(self.execute(self.deposit(1).pk))

"""The daily comparison with the bank's list never fails without a sign."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest import mock, skipIf
from uuid import uuid4

from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError, connection, transaction
from django.test import override_settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.heartbeat import Heartbeat
from wallets.models.transaction import Transaction
from wallets.services.operations import (
    metrics,
    readiness,
    reconciliation_alarms,
    reconciliation_daily,
    reconciliation_rows,
)
from wallets.services.operations.reconciliation import Comparison
from wallets.services.payouts import sweeper
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.api import Api
from wallets.tests.base import (
    CommittingTestCase,
    WalletTestCase,
    close_connections,
    forget_statistics,
    up_for,
)
from wallets.tests.fakes import Does
from wallets.tests.races import be_impatient
from wallets.tests.test_read_plans import Plans
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.database.transactions import lock_rows

HOUR, DAY = 3600.0, 86400.0
PATIENCE = 60.0
# So many attempts that engines use an index, and the least number of a chunk.
MANY, CHUNK = 6000, 500
# With the dead rows of changes.
MOST = 2 * CHUNK


@override_settings(THIRD_PARTY_STATEMENT=True)
class FailedRunTest(WalletTestCase):
    """A daily run that fails…"""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(
            reconciliation_daily, "get_bank", return_value=self.bank
        )
        patch.start()
        self.addCleanup(patch.stop)

    def run_failing(self, error: Exception, seconds: float = 0) -> None:
        """Run when the list has been read; the comparison ends with this error."""
        failing = mock.patch.object(Comparison, "findings", side_effect=error)
        with failing, self.assertRaises(type(error)), self.assertLogs() as logs:
            reconciliation_daily.reconcile_when_due(now=self.after(seconds))
        self.logged = "\n".join(logs.output)

    def test_raises_an_alarm_once_a_day_and_goes_on_as_an_error(self) -> None:
        slow = OperationalError("canceling statement\ndue to statement timeout")
        for seconds in (0, 600, DAY):
            self.run_failing(slow, seconds)
        found = Alarm.objects.order_by("pk")
        self.assertEqual([each.kind for each in found], ["no_statement"] * 2)
        said = "OperationalError: canceling statement due to statement timeout"
        self.assertIn(said, found[0].detail)
        self.assertIn(said.replace(" due", "\ndue"), self.logged)
        self.assertFalse(Heartbeat.objects.exists())

    def test_raises_it_whatever_the_error_is(self) -> None:
        for error in (SoftTimeLimitExceeded(), RuntimeError("x" * 5000)):
            Alarm.objects.all().delete()
            with self.subTest(type(error)):
                self.run_failing(error)
                self.assertIn(type(error).__name__, Alarm.objects.get().detail)

    def test_fails_with_its_own_error_if_no_alarm_can_be_written(self) -> None:
        gone = mock.patch.object(
            reconciliation_alarms,
            "run_in_transaction",
            side_effect=OperationalError("gone"),
        )
        with gone:
            self.run_failing(RuntimeError("the first error"))
        self.assertIn("the first error", self.logged)
        self.assertIn("gone", self.logged)

    def test_leaves_no_connection_of_its_thread_beside_the_sweeps(self) -> None:
        failing = mock.patch.object(
            reconciliation_daily, "ask", side_effect=RuntimeError("broken")
        )
        closing = mock.patch.object(sweeper.connections, "close_all")
        keeping = mock.patch.object(sweeper, "close_old_connections")
        with failing, closing as closed, keeping, self.assertRaises(RuntimeError):
            sweeper._BesidePayments()._run()
        closed.assert_called_once()
        self.assertEqual(Alarm.objects.get().kind, "no_statement")


class LastRunTest(Api, WalletTestCase):
    """The last daily run that was made…"""

    def setUp(self) -> None:
        super().setUp()
        for name in ("pending", "retry", "resolve"):
            Heartbeat.objects.create(name=name, ran_at=self.now, by="x")

    def ran(self, hours: float) -> None:
        ran_at = self.now - timedelta(hours=hours)
        Heartbeat.objects.filter(name="statement").delete()
        Heartbeat.objects.create(name="statement", ran_at=ran_at, by="x")

    def look(self) -> tuple[str, str]:
        answer = self.get("/readyz")
        self.assertEqual(answer.status_code, 200)
        return answer.json()["status"], answer.json()["checks"]["sweeps"]

    @override_settings(THIRD_PARTY_STATEMENT=True)
    @up_for(DAY)
    def test_is_silent_after_a_day_and_two_hours(self) -> None:
        self.ran(25.9)
        self.assertEqual(self.look(), ("ok", "ok"))
        self.ran(26.1)
        self.assertEqual(self.look(), ("degraded", "silent: statement"))

    @override_settings(THIRD_PARTY_STATEMENT=True)
    def test_is_waited_for_after_a_start(self) -> None:
        """The first run comes with the first tick, also in a new system."""
        for make in (lambda: None, lambda: self.ran(100)):
            make()
            with up_for(1800):
                self.assertEqual(self.look(), ("ok", "ok"))
            with up_for(3600):
                self.assertEqual(self.look(), ("degraded", "silent: statement"))

    @override_settings(THIRD_PARTY_STATEMENT=True)
    def test_has_an_age(self) -> None:
        self.assertIsNone(metrics.figures().sweep_ages["statement"])
        self.ran(30)
        age = metrics.figures().sweep_ages["statement"]
        self.assertGreaterEqual(age, 30 * HOUR)
        ages = self.get("/readyz").json()["sweep_age_seconds"]
        self.assertGreaterEqual(ages["statement"], 30 * HOUR)

    @up_for(DAY)
    def test_is_nothing_where_the_bank_has_no_list(self) -> None:
        self.ran(100)
        self.assertEqual(self.look(), ("ok", "ok"))
        self.assertNotIn("statement", metrics.figures().sweep_ages)
        names = [sweep.name for sweep in readiness.sweeps(self.now)]
        self.assertEqual(names, ["pending", "retry", "resolve"])


class PeriodTestCase(CommittingTestCase):
    """Paid attempts, of which each was made a minute after the one before."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.bank.paid.clear()

    def paid(self, seconds: float) -> Attempt:
        at = self.after(seconds)
        row = builders.due_withdrawal(self.alice, 1, due=at)
        WithdrawalService.execute(row.pk, bank=self.bank, now=at)
        return row.attempts.get()

    def missed(self, since: float, at: float) -> list[str]:
        comparison = Comparison([], self.after(at), since=self.after(since))
        return [finding.row for finding in comparison.findings()]


class PeriodTest(PeriodTestCase):
    """The payments of the ledger in a list's period are read…"""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(reconciliation_rows, "IDS_AT_ONCE", 3)
        patch.start()
        self.addCleanup(patch.stop)

    def test_whole_and_in_order(self) -> None:
        made = [self.paid(60 * n) for n in range(20)]
        for first in (0, 1, 7, 19):
            found = self.missed(60 * first, 2 * HOUR)
            self.assertEqual(found, [f"attempt {each}" for each in made[first:]])

    def test_although_later_attempts_are_of_no_interest(self) -> None:
        """More than are read at once: other periods, refused ones, deleted ones."""
        made = [self.paid(60 * n) for n in range(3)]
        for _ in range(7):
            self.bank.script.append(Does.REFUSE)
            self.paid(120)
        for _ in range(7):
            self.paid(HOUR)
        self.assertEqual(self.missed(0, 1500), [f"attempt {each}" for each in made])

    def test_although_a_clock_was_behind_for_some_of_them(self) -> None:
        made = [self.paid(0)]
        for _ in range(2):
            self.paid(-9 * DAY)
        made.append(self.paid(60))
        found = self.missed(-60, HOUR)
        self.assertEqual(found, [f"attempt {each}" for each in made])


@marks.slow
@skipIf(connection.vendor == "sqlite", "it counts nothing")
class PeriodPlansTest(PeriodTestCase):
    """The payments of the ledger in the last day, after a long history…"""

    class Read(Plans):
        pattern = r"SELECT .* FROM .wallets_attempt\b"

    def setUp(self) -> None:
        forget_statistics(self)
        super().setUp()
        patch = mock.patch.object(reconciliation_rows, "IDS_AT_ONCE", CHUNK)
        patch.start()
        self.addCleanup(patch.stop)

    def grow(self) -> None:
        """Make a history of attempts that ended weeks ago."""
        row = builders.due_withdrawal(self.alice, 1, due=self.after(-30 * DAY))
        WithdrawalService.execute(row.pk, bank=self.bank, now=self.after(-30 * DAY))
        first = row.attempts.get()
        rows = Transaction.objects.filter(pk=row.pk).values().get()
        many = []
        for _ in range(MANY):
            rows |= {"id": None, "idempotency_key": uuid4()}
            many.append(Transaction(**rows))
        Transaction.objects.bulk_create(many, batch_size=1000)
        made = Transaction.objects.filter(pk__gt=row.pk).order_by("pk")
        attempts = Attempt.objects.filter(pk=first.pk).values().get()
        old = []
        for pk in made.values_list("pk", flat=True):
            attempts |= {"id": None, "transaction_id": pk}
            attempts |= {"reference": uuid4()}
            old.append(Attempt(**attempts))
        Attempt.objects.bulk_create(old, batch_size=1000)

    books_must_be_right = False

    def assert_bounded(self) -> None:
        made = [self.paid(60 * n) for n in range(3)]
        read = self.Read()
        with connection.execute_wrapper(read):
            found = self.missed(-60, HOUR)
        self.assertEqual(found, [f"attempt {each}" for each in made])
        self.assertNotEqual(read, [])
        for sql, plan in read:
            told = f"{sql}\n{plan.text}"
            self.assertNotRegex(plan.text, "Seq Scan|'ALL'", told)
            self.assertLessEqual(plan.most_read, MOST, told)
        self.assertLess(len(read), 12)

    def test_are_read_by_their_ids_with_statistics_of_an_empty_table(self) -> None:
        self.grow()
        self.assert_bounded()

    def test_are_read_by_their_ids_with_statistics_of_the_history(self) -> None:
        self.grow()
        with connection.cursor() as cursor:
            word = "TABLE" if connection.vendor == "mysql" else ""
            cursor.execute(f"ANALYZE {word} wallets_attempt")
        self.assert_bounded()


@skipIf(connection.vendor == "sqlite", "no row locks: the transaction is the lock")
class LockedTest(CommittingTestCase):
    """A withdrawal that another session locks while the list is compared…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.locked, *self.others = (self.refused() for _ in range(4))

    def refused(self) -> Transaction:
        row = builders.due_withdrawal(self.alice, 1, due=self.now)
        self.bank.script.append(Does.REFUSE)
        return WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)

    @contextmanager
    def hold(self, until: threading.Event) -> Iterator[None]:
        """Lock the first withdrawal until then, or until the end of the block."""
        held = threading.Event()

        def work() -> None:
            with transaction.atomic():
                lock_rows(Transaction.objects.filter(pk=self.locked.pk))
                held.set()
                until.wait(PATIENCE)
            close_connections()

        holder = threading.Thread(target=work)
        holder.start()
        try:
            self.assertTrue(held.wait(PATIENCE))
            yield
        finally:
            until.set()
            holder.join(PATIENCE)

    def lines(self) -> list[StatementLine]:
        rows = (self.locked, *self.others)
        made = Attempt.objects.filter(transaction__in=rows).order_by("pk")
        return [
            StatementLine(each.reference, self.alice.uuid, 1, self.now) for each in made
        ]

    def compare(self) -> list[str]:
        comparison = Comparison(self.lines(), self.after(HOUR), since=self.after(-60))
        return [finding.check for finding in comparison.findings()]

    def with_alarm(self) -> set[int]:
        return set(Alarm.objects.values_list("transaction_id", flat=True)) - {None}

    def test_has_its_alarm_after_all_others(self) -> None:
        until = threading.Event()
        everybody = {row.pk for row in (self.locked, *self.others)}
        write = reconciliation_alarms.raise_alarm

        def raise_alarm(*args, **options):
            write(*args, **options)
            if args[1].pk == self.others[-1].pk:
                until.set()

        patch = mock.patch.object(reconciliation_alarms, "raise_alarm", raise_alarm)
        with self.hold(until), patch:
            self.assertEqual(self.compare(), ["paid_after_release"] * 4)
        self.assertEqual(self.with_alarm(), everybody)
        last = Alarm.objects.order_by("pk").last()
        self.assertEqual(last.transaction_id, self.locked.pk)

    def test_is_named_if_it_stays_locked_and_others_have_their_alarms(self) -> None:
        be_impatient(self)
        with self.hold(threading.Event()):
            found = self.compare()
        self.assertEqual(found, [*["paid_after_release"] * 4, "locked_rows"])
        self.assertEqual(self.with_alarm(), {row.pk for row in self.others})
        self.assertEqual(self.compare(), ["paid_after_release"] * 4)
        self.assertIn(self.locked.pk, self.with_alarm())

    @override_settings(THIRD_PARTY_STATEMENT=True)
    def test_lets_the_daily_run_be_made_again(self) -> None:
        be_impatient(self)
        listed = mock.patch.object(self.bank, "statement", return_value=self.lines())
        get_bank = mock.patch.object(
            reconciliation_daily, "get_bank", return_value=self.bank
        )
        with listed, get_bank:
            with self.hold(threading.Event()):
                reconciliation_daily.reconcile_when_due()
            self.assertFalse(Heartbeat.objects.filter(name="statement").exists())
            told = Alarm.objects.get(kind="no_statement")
            self.assertIn(f"withdrawal {self.locked.pk}", told.detail)
            reconciliation_daily.reconcile_when_due()
        self.assertTrue(Heartbeat.objects.filter(name="statement").exists())
        self.assertIn(self.locked.pk, self.with_alarm())

    def test_is_waited_for_at_the_end_and_not_for_long(self) -> None:
        """Each lock may cost five seconds, and a run has ten minutes."""
        be_impatient(self)
        for seconds, expected in ((60.0, [True] * 4 + [False]), (-1.0, [True] * 5)):
            patient = mock.patch.object(reconciliation_alarms, "WAIT_SECONDS", seconds)
            locking = mock.patch.object(
                reconciliation_alarms, "lock_rows", wraps=lock_rows
            )
            with self.hold(threading.Event()), patient, locking as locks:
                self.assertIn("locked_rows", self.compare())
            skipped = [each.kwargs["skip_locked"] for each in locks.call_args_list]
            self.assertEqual(skipped, expected)

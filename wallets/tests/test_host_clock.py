"""A host's wall clock sets and decides nothing. If it is wrong, this is reported."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock, skipIf

import time_machine
from django.db import connection
from django.test import SimpleTestCase

from drills import clock_shim, services
from wallets.errors import InvalidSchedule
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.deposits.deposit_batch import deposit_in_steps
from wallets.services.deposits.deposit_group import DepositGroup
from wallets.services.ledger import ledger_audit
from wallets.services.operations import heartbeat, host_clock
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.schedule import ScheduleRequest, schedule_many
from wallets.services.withdrawals.schedule_batch import Asked, schedule_in_steps
from wallets.tests import builders, marks
from wallets.tests.api import Api, database_out_of_reach
from wallets.tests.base import CommittingTestCase, WalletTestCase
from wallets.tests.clocks import StandingClock
from wallets.tests.workers import WorkerTestCase
from wallets.utils.database.transactions import database_now

YEAR = timedelta(days=365)
SQLITE = connection.vendor == "sqlite"
ONE_CLOCK = "SQLite's clock is this machine's"


@contextmanager
def host_is(ahead: timedelta) -> Iterator[None]:
    """Set this host's wall clock forward by `ahead`; elapsed time is not changed."""
    with time_machine.travel(datetime.now().astimezone() + ahead):
        yield


@skipIf(SQLITE, ONE_CLOCK)
class StampTest(Api, WalletTestCase):
    """With this host's clock a year ahead, the database's clock dates…"""

    def setUp(self) -> None:
        super().setUp()
        context = host_is(YEAR)
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    def assert_now(self, *moments: datetime | None) -> None:
        for moment in moments:
            assert moment is not None
            self.assertLess(abs(moment - self.now), timedelta(minutes=5))

    def assert_rows_are_now(self) -> None:
        """Check every column of every row that has the time of its writing."""
        for model in (Wallet, Transaction, Movement, Transition, Attempt, Alarm):
            for row in model.objects.all():
                self.assert_now(row.created_at, getattr(row, "updated_at", self.now))

    def test_a_wallet(self) -> None:
        self.assert_now(WalletService.create().created_at)
        self.assert_rows_are_now()

    def test_deposits_on_every_path(self) -> None:
        def asked() -> DepositRequest:
            return DepositRequest(self.alice.uuid, 1, uuid.uuid4())

        one = WalletService.deposit(self.alice.uuid, 1)
        many = deposit_many([asked(), asked()])
        steps = deposit_in_steps([asked()])
        group = DepositGroup().deposit([asked(), asked()])
        self.assert_now(one.created_at)
        for receipt in (*many, *steps, *group):
            self.assert_now(receipt.made_at, receipt.transaction.created_at)
        for deposit in Transaction.objects.all():
            self.assert_now(deposit.executed_at)
        self.assert_rows_are_now()

    def test_withdrawals_on_every_path(self) -> None:
        one = ScheduleRequest(self.alice.uuid, 1, self.after(3600))
        answers = [
            *schedule_many([one, one]),
            *schedule_many([one, one], wait=False),
            *schedule_in_steps([Asked(*one[:3], uuid.uuid4(), False)]),
        ]
        for receipt in answers:
            self.assert_now(receipt.transaction.created_at)
        past = one._replace(scheduled_for=self.after(-3600))
        with host_is(-2 * YEAR):
            for wait in (True, False):
                (refused,) = schedule_many([past], wait=wait)
                self.assertIsInstance(refused, InvalidSchedule)
        self.assert_rows_are_now()

    def test_what_a_replay_answers(self) -> None:
        key = uuid.uuid4()
        first = builders.deposit_receipt(self.alice.uuid, 1, key)
        again = builders.deposit_receipt(self.alice.uuid, 1, key)
        self.assertTrue(again.replayed)
        self.assertEqual(again.made_at, first.made_at)

    def test_withdrawals_and_their_outcomes(self) -> None:
        WalletService.deposit(self.alice.uuid, 10)
        soon = self.after(3600)
        cancelled = WithdrawalService.schedule(self.alice.uuid, 1, soon)
        WithdrawalService.cancel(cancelled.pk)
        paid = self.due_withdrawal(2)
        WithdrawalService.execute(paid.pk, bank=self.bank)
        paid.refresh_from_db()
        self.assert_now(paid.executed_at, cancelled.created_at)
        for row in Transition.objects.exclude(transaction=paid):
            self.assert_now(row.created_at)

    def test_the_decision_what_is_in_the_future(self) -> None:
        """A time in an hour by the database is in the past by the host."""
        WithdrawalService.schedule(self.alice.uuid, 1, self.after(3600))
        with host_is(-2 * YEAR), self.assertRaises(InvalidSchedule):
            WithdrawalService.schedule(self.alice.uuid, 1, self.after(-3600))

    def test_rows_whose_writer_names_no_time(self) -> None:
        Wallet.objects.bulk_create([Wallet(), Wallet()])
        Wallet.objects.create()
        self.assert_rows_are_now()

    def test_what_is_due(self) -> None:
        later = WithdrawalService.schedule(self.alice.uuid, 1, self.after(3600))
        self.assertNotIn(later, Transaction.get_due_pending_withdrawals())

    def test_the_answer_of_a_balance(self) -> None:
        WalletService.deposit(self.alice.uuid, 3)
        path = f"/wallets/{self.alice.uuid}/balance/"
        answer = self.get(path).json()
        at = datetime.fromisoformat(answer["at"].replace("Z", "+00:00"))
        self.assert_now(at)
        self.assertEqual(answer["balance"], 3)
        self.assertEqual(self.get(f"{path}?at={answer['at']}").json()["balance"], 3)


@skipIf(SQLITE, ONE_CLOCK)
class OffsetTest(WalletTestCase):
    def test_is_how_far_the_host_is_ahead(self) -> None:
        for seconds in (12.5, -45.0, 7200.0):
            with self.subTest(seconds=seconds), host_is(timedelta(seconds=seconds)):
                self.assertAlmostEqual(host_clock.offset(), seconds, delta=1)

    def test_is_none_where_the_duration_of_the_query_explains_it(self) -> None:
        """The answer of the database took five seconds."""
        standing = StandingClock()

        def slow() -> datetime:
            standing.go_on(5)
            return database_now() + timedelta(seconds=4)

        with standing, mock.patch.object(host_clock, "database_now", slow):
            self.assertEqual(host_clock.offset(), 0)


class DescribeTest(SimpleTestCase):
    def test_names_what_is_more_than_a_second(self) -> None:
        for seconds, words in (
            (0.9, None),
            (-1.0, None),
            (12.34, "12.3 s ahead of the database's clock"),
            (-45.0, "45.0 s behind the database's clock"),
        ):
            with self.subTest(seconds=seconds):
                self.assertEqual(host_clock.describe(seconds), words)


class WrongClockReportTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        off = mock.patch.object(host_clock, "offset", return_value=12.34)
        self.offset = off.start()
        self.addCleanup(off.stop)
        fresh = mock.patch.object(host_clock, "_next_look", 0.0)
        fresh.start()
        self.addCleanup(fresh.stop)

    def test_is_in_the_answer_of_readyz(self) -> None:
        answer = self.get("/readyz")
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(answer.json()["status"], "degraded")
        self.assertEqual(
            answer.json()["checks"]["clock"], "12.3 s ahead of the database's clock"
        )

    def test_is_logged_by_sweeps_once_in_a_while(self) -> None:
        with StandingClock() as standing:
            with self.assertLogs(
                "wallets.services.operations.host_clock", "WARNING"
            ) as logs:
                for _ in range(5):
                    heartbeat.beat("pending")
            self.assertEqual(len(logs.output), 1)
            self.assertIn("12.3 s ahead of the database's clock", logs.output[0])
            standing.go_on(host_clock.SAY_AGAIN_SECONDS)
            with self.assertLogs("wallets.services.operations.host_clock", "WARNING"):
                heartbeat.beat("pending")


class WithoutDatabaseTest(CommittingTestCase):
    @skipIf(SQLITE, ONE_CLOCK)
    def test_goes_on(self) -> None:
        with database_out_of_reach():
            host_clock.warn(at_once=True)


class DatedAheadTest(WalletTestCase):
    """If old movements have times in the future, `verify_ledger` names the wallet."""

    def found(self) -> list[str]:
        return [one.row for one in ledger_audit.verify() if one.check == "dated_ahead"]

    def test_is_named(self) -> None:
        WalletService.deposit(self.alice.uuid, 1, now=self.now + YEAR)
        WalletService.deposit(self.bob.uuid, 1)
        self.assertEqual(self.found(), [f"wallet {self.alice.uuid}"])

    def test_stays_so_with_the_next_movement_on_every_path(self) -> None:
        """The times of a statement never decrease."""
        WalletService.deposit(self.alice.uuid, 1, now=self.now + YEAR)
        WalletService.deposit(self.alice.uuid, 1)
        deposit_in_steps([DepositRequest(self.alice.uuid, 1, uuid.uuid4())])
        dates = set(self.alice.movements.values_list("created_at", flat=True))
        self.assertEqual(dates, {self.now + YEAR})
        self.assertEqual(self.found(), [f"wallet {self.alice.uuid}"])

    def test_is_nothing_within_what_two_servers_may_differ(self) -> None:
        WalletService.deposit(self.alice.uuid, 1, now=self.after(5))
        self.assertEqual(self.found(), [])


@skipIf(SQLITE, ONE_CLOCK)
@skipIf(clock_shim.missing(), clock_shim.missing())
@marks.slow
class RealProcessTest(WorkerTestCase):
    """The clock of a real API, worker or Beat, which differs from the database's…"""

    def environment_of(self, name: str, ahead: float) -> dict[str, str]:
        clock = clock_shim.SteppedClock(self.folder, name)
        clock.step_to(ahead)
        return self.environment(ALLOWED_HOSTS="127.0.0.1", **clock.variables)

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self.api.url + path,
            json.dumps(body).encode() if body else None,
            {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            read: dict[str, Any] = json.load(answer)
        return read

    def start_api(self) -> None:
        self.api = services.Api(
            self.environment_of("api", YEAR.total_seconds()), self.folder
        )
        self.started(self.api)

    def assert_now(self, *moments: datetime | None) -> None:
        for moment in moments:
            assert moment is not None
            self.assertLess(abs(moment - database_now()), timedelta(minutes=5))

    def test_of_the_api_dates_nothing_and_is_reported(self) -> None:
        self.start_api()
        path = f"/wallets/{self.alice.uuid}"
        for _ in range(3):
            self.ask("POST", f"{path}/deposit", {"amount": 5})
        wallet = Wallet.objects.get(uuid=self.ask("POST", "/wallets/")["uuid"])
        due = (self.now + timedelta(hours=1)).isoformat()
        body = {"amount": 1, "scheduled_for": due}
        self.ask("POST", f"{path}/withdraw", body)
        WalletService.deposit(self.alice.uuid, 1)

        self.assert_now(wallet.created_at, wallet.updated_at)
        for movement in self.alice.movements.all():
            self.assert_now(movement.created_at)
        for row in self.alice.transactions.filter(transaction_type="DEPOSIT"):
            self.assert_now(row.created_at, row.updated_at, row.executed_at)
        for step in Transition.objects.all():
            self.assert_now(step.created_at)
        self.assertEqual([*ledger_audit.verify()], [])
        checks = self.ask("GET", "/readyz")["checks"]
        self.assertRegex(
            checks["clock"], r"^3153\d{4}\.\d s ahead of the database's clock"
        )

    def test_of_worker_and_beat_is_reported_at_their_start(self) -> None:
        worker = services.worker(
            "ahead", self.environment_of("worker", 7200), self.folder
        )
        beat = services.beat("back", self.environment_of("beat", -3600), self.folder)
        for process, words in (
            (worker, "s ahead of the database's clock"),
            (beat, "s behind the database's clock"),
        ):
            self.started(process)
            self.wait_until(partial(process.said, words), words, process)
        for movement in self.alice.movements.all():
            self.assert_now(movement.created_at)

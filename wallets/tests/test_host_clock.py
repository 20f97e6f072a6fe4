"""A host's wall clock stamps nothing and decides nothing; where it is wrong, it says so."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest import mock, skipIf

import time_machine
from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase

from wallets.errors import InvalidSchedule
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services import heartbeat, host_clock, reconciliation
from wallets.services.deposit import DepositRequest, deposit_bulk
from wallets.services.deposit_batch import deposit_in_steps
from wallets.services.deposit_group import DepositGroup
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import Api, database_out_of_reach
from wallets.tests.base import CommittingTestCase, WalletTestCase, database_environment
from wallets.tests.clocks import StandingClock
from wallets.utils.db import database_now

YEAR = timedelta(days=365)
SQLITE = connection.vendor == "sqlite"
ONE_CLOCK = "SQLite's clock is this machine's"


@contextmanager
def host_is(ahead: timedelta) -> Iterator[None]:
    """This host's wall clock is so far ahead of what it was; elapsed time goes on."""
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
            self.assertIsNotNone(moment)
            self.assertLess(abs(moment - self.now), timedelta(minutes=5))

    def assert_rows_are_now(self) -> None:
        """Every column of every row that says when it was written."""
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
        many = deposit_bulk([asked(), asked()])
        steps = deposit_in_steps([asked()])
        group = DepositGroup().deposit([asked(), asked()])
        made = [
            answer if isinstance(answer, Transaction) else answer.transaction()
            for answer in (one, *many, *steps, *group)
        ]
        self.assert_now(*[deposit.created_at for deposit in made])
        for deposit in Transaction.objects.all():
            self.assert_now(deposit.executed_at)
        self.assert_rows_are_now()

    def test_what_a_replay_answers(self) -> None:
        key = uuid.uuid4()
        first = WalletService.deposit(self.alice.uuid, 1, key)
        again = WalletService.deposit(self.alice.uuid, 1, key)
        self.assertTrue(again.replayed)
        self.assertEqual(again.executed_at, first.executed_at)

    def test_withdrawals_and_what_becomes_of_them(self) -> None:
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

    def test_the_judgement_of_what_is_in_the_future(self) -> None:
        """An hour from now by the database is long ago by the host."""
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
        """The database answered five seconds after it was asked."""
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


class SaysSoTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        off = mock.patch.object(host_clock, "offset", return_value=12.34)
        self.offset = off.start()
        self.addCleanup(off.stop)
        fresh = mock.patch.object(host_clock, "_next_look", 0.0)
        fresh.start()
        self.addCleanup(fresh.stop)

    def test_when_it_is_asked_whether_it_is_ready(self) -> None:
        answer = self.get("/readyz")
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(answer.json()["status"], "degraded")
        self.assertEqual(
            answer.json()["checks"]["clock"], "12.3 s ahead of the database's clock"
        )

    def test_with_its_sweeps_once_in_a_while(self) -> None:
        with StandingClock() as standing:
            with self.assertLogs("wallets.services.host_clock", "WARNING") as logs:
                for _ in range(5):
                    heartbeat.beat("pending")
            self.assertEqual(len(logs.output), 1)
            self.assertIn("12.3 s ahead of the database's clock", logs.output[0])
            standing.go_on(host_clock.SAY_AGAIN_SECONDS)
            with self.assertLogs("wallets.services.host_clock", "WARNING"):
                heartbeat.beat("pending")


class WithoutDatabaseTest(CommittingTestCase):
    @skipIf(SQLITE, ONE_CLOCK)
    def test_goes_on(self) -> None:
        with database_out_of_reach():
            host_clock.warn(at_once=True)


class DatedAheadTest(WalletTestCase):
    """Movements from before, of a clock that was ahead: `verify_ledger` names the wallet."""

    def found(self) -> list[str]:
        return [
            one.row for one in reconciliation.verify() if one.check == "dated_ahead"
        ]

    def test_is_named(self) -> None:
        WalletService.deposit(self.alice.uuid, 1, now=self.now + YEAR)
        WalletService.deposit(self.bob.uuid, 1)
        self.assertEqual(self.found(), [f"wallet {self.alice.uuid}"])

    def test_stays_so_with_the_next_movement_on_every_path(self) -> None:
        """A statement does not go back in time."""
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
@marks.slow
class RealProcessTest(CommittingTestCase):
    """A process of its own, under a wall clock that is a year ahead…"""

    START = (
        "import sys, datetime, time_machine;"
        "time_machine.travel(datetime.datetime.now().astimezone()"
        " + datetime.timedelta(days=365)).start();"
    )

    def run_program(self, program: str, *, seconds: float = 60) -> str:
        done = subprocess.run(
            [sys.executable, "-c", self.START + program],
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "wallet.settings"}
            | database_environment(),
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout + done.stderr

    def test_of_the_api_stamps_by_the_databases_and_says_so(self) -> None:
        """All later movements of the wallet have their own time, too."""
        said = self.run_program(
            "import django; django.setup();"
            "from django.test import Client; c = Client(headers={'host': '127.0.0.1'});"
            f"path = '/wallets/{self.alice.uuid}/deposit';"
            "a = c.post(path, {'amount': 5}, content_type='application/json');"
            "assert a.status_code == 200, a.content;"
            "print(c.get('/readyz').json()['checks']['clock'])"
        )
        self.assertRegex(said, r"315\d{5}\.\d s ahead of the database's clock")
        WalletService.deposit(self.alice.uuid, 1)
        for movement in self.alice.movements.all():
            age = abs(movement.created_at - database_now())
            self.assertLess(age, timedelta(minutes=5))
        for deposit in Transaction.objects.all():
            self.assertLess(abs(deposit.executed_at - self.now), timedelta(minutes=5))

    def test_of_worker_and_beat_says_so_at_the_start(self) -> None:
        for signal in ("worker_init", "beat_init"):
            with self.subTest(signal=signal):
                said = self.run_program(
                    "import django; django.setup();"
                    "from wallet.celery import app; from celery import signals;"
                    f"signals.{signal}.send(sender=None)"
                )
                self.assertIn("ahead of the database's clock", said)

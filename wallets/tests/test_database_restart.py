"""The test's own database server is killed during calls to the bank, and restarted."""

from __future__ import annotations

import threading
import time
from typing import ClassVar
from unittest import SkipTest, skipUnless

from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection, connections

from drills import servers
from drills.servers import OwnServer
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.services.payouts.resolver import resolve_due
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.fakes import BARE
from wallets.tests.simulator import Simulator
from wallets.utils.database.transactions import database_now
from wallets.utils.third_party import HttpBank

SERVERS = {"postgresql": "postgresql", "mysql": "mariadb"}
AWAY_SECONDS = 6.0
CALLS = 64
# Answers take this long, so that all calls are open when the server is killed.
LATENCY = 2.0


@skipUnless(connection.vendor in SERVERS, "SQLite has no server")
@marks.slow
class DatabaseRestartTest(CommittingTestCase):
    """With a bank without look-up and dedupe, a restart of the database…"""

    server: ClassVar[OwnServer]
    over: ClassVar[threading.Event]

    @classmethod
    def setUpClass(cls) -> None:
        kind = SERVERS[connection.vendor]
        if reason := servers.missing(kind):
            raise SkipTest(f"no server of our own: {reason}")
        cls.over = threading.Event()
        cls.addClassCleanup(cls.over.set)
        cls.server = servers.start(kind)
        cls.addClassCleanup(cls.server.end)
        cls._use_it()
        super().setUpClass()

    @classmethod
    def _use_it(cls) -> None:
        """Connect this process to the server until the end of the class."""
        ours = connection.settings_dict
        before = dict(ours)
        connection.close()
        ours.update(
            NAME="wallet",
            USER="postgres" if connection.vendor == "postgresql" else "root",
            PASSWORD="",
            HOST="127.0.0.1",
            PORT=str(cls.server.port),
        )

        def back() -> None:
            connections.close_all()
            ours.update(before)

        cls.addClassCleanup(back)
        with connection._nodb_cursor() as cursor:
            cursor.execute("CREATE DATABASE wallet")
        call_command("migrate", verbosity=0)

    def setUp(self) -> None:
        super().setUp()
        self.simulator = Simulator()
        self.addCleanup(self.simulator.stop)
        self.deposit(1000)
        self.client_of_bank = HttpBank(
            self.simulator.url,
            abilities=BARE,
            deadline=10,
            connect_timeout=10,
            connections=CALLS,
        )

    def drain(self) -> None:
        sweep = Drain(find_due, bank=self.client_of_bank, seconds=10)
        try:
            sweep.run()
        except (DatabaseError, InterfaceError):
            connection.close()  # like Celery between two tasks

    def drain_through_a_restart(self, *, when_paid: int) -> None:
        def wait_and_restart() -> None:
            while len(self.simulator.payments()) < when_paid:
                time.sleep(0.01)
            restart(self.server, away=AWAY_SECONDS)
            back.set()
            # The kernel kills the server when the thread that started it ends.
            self.over.wait()

        back = threading.Event()
        threading.Thread(target=wait_and_restart, daemon=True).start()
        self.drain()
        self.assertTrue(back.wait(60))

    def assert_no_review(self, count: int) -> None:
        for _ in range(20):
            if Transaction.get_due_pending_withdrawals(database_now()).exists():
                self.drain()
        # By a time after every lease.
        resolve_due(bank=self.client_of_bank, limit=count, now=self.after(10**5))
        self.assertEqual(Alarm.objects.count(), 0)
        paid = Transaction.objects.filter(
            status="COMPLETED", transaction_type="WITHDRAWAL"
        )
        self.assertEqual(paid.count(), count)
        self.assertEqual(len(self.simulator.payments()), count)
        self.assertEqual(Attempt.objects.count(), count)

    def test_while_all_answers_are_on_the_way_costs_no_review(self) -> None:
        self.simulator.change(bare=True, latency=LATENCY)
        for _ in range(CALLS):
            self.due_withdrawal(1)
        self.drain_through_a_restart(when_paid=CALLS)
        self.assert_no_review(CALLS)

    def test_while_it_claims_and_records_costs_no_review(self) -> None:
        """It always claims and records here, so the restart comes at any moment."""
        count = 6 * CALLS
        self.simulator.change(bare=True, latency=0.1)
        for _ in range(count):
            self.due_withdrawal(1)
        self.drain_through_a_restart(when_paid=2 * CALLS)
        self.assert_no_review(count)


def restart(server: OwnServer, *, away: float) -> None:
    """Kill the server, and start it again after `away` seconds."""
    server.kill()
    time.sleep(away)
    server.start()

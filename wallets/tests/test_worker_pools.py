"""Real workers with each kind of pool, and with wrong clocks."""

from __future__ import annotations

import subprocess
import sys
from unittest import skipIf, skipUnless

from django.db import connection
from django.test import SimpleTestCase

from drills import clock_shim
from drills.clock_shim import SteppedClock
from drills.process import ROOT, Process
from drills.services import environment
from wallets.models.heartbeat import Heartbeat
from wallets.models.transition import Transition
from wallets.services.payouts import dispatch
from wallets.tests import marks
from wallets.tests.workers import PAID, PROBE, WorkerTestCase
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import broker

# A pool does not depend on the engine of the database.
on_one_engine = skipUnless(connection.vendor == "sqlite", "shown on SQLite")
POOLS = {
    "prefork": ("-P", "prefork", "-c", "4"),
    "one process": ("-P", "prefork", "-c", "1"),
    "threads": ("-P", "threads", "-c", "2"),
    "solo": ("-P", "solo"),
}


@on_one_engine
@marks.slow
class PoolTest(WorkerTestCase):
    """Each pool pays, resolves, reports its state, and ends on a signal."""

    def check(self, pool: str) -> None:
        worker = self.start_worker(pool=POOLS[pool])
        self.start_beat()
        began = database_now()
        withdrawals = [self.soon(amount) for amount in (1, 2, 3)]
        self.wait_for(PAID, *withdrawals)
        self.wait_until(lambda: self.beats_since(began) == 3, "heartbeats", worker)
        worker.signal(15)
        self.wait_until(lambda: not worker.alive, "the worker to end", worker)
        self.assertEqual(self.payments(), {1: 1, 2: 1, 3: 1})

    def beats_since(self, moment: object) -> int:
        return Heartbeat.objects.filter(ran_at__gt=moment).count()

    def test_of_processes_works(self) -> None:
        self.check("prefork")

    def test_of_one_process_works(self) -> None:
        self.check("one process")

    def test_of_threads_works(self) -> None:
        self.check("threads")

    def test_without_child_processes_works(self) -> None:
        self.check("solo")


@on_one_engine
@marks.slow
class RefusedPoolTest(SimpleTestCase):
    def test_is_refused_in_one_sentence(self) -> None:
        """The libraries of greenlets are not installed; a fake module has the name."""
        code = (
            "import sys, types; from celery.concurrency import solo; "
            "name = 'celery.concurrency.gevent'; module = types.ModuleType(name); "
            "module.TaskPool = type('TaskPool', (solo.TaskPool,), "
            "{'__module__': name}); sys.modules[name] = module; "
            "from wallet.celery import app; "
            "app.Worker(pool_cls=module.TaskPool, concurrency=2)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment({"CELERY_BROKER_URL": "memory://"}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("Payouts need real threads", done.stderr)


@on_one_engine
@marks.slow
class ResolverTest(WorkerTestCase):
    """Look-ups continue during a flood of payouts."""

    # With one process, one or two drains run first; a busy machine takes longer.
    LOOKED_UP_SECONDS = 60

    def setUp(self) -> None:
        self.times = {**self.times, "WITHDRAWAL_DUE_INTERVAL": "10"}
        super().setUp()

    def check(self, pool: str) -> None:
        """Make an unknown outcome, and then a bank so slow that drains never end."""
        worker = self.start_worker(pool=POOLS[pool])
        self.bank_simulator.set_faults(mode="accept_500")
        unknown = self.soon(PROBE)
        self.wait_for("PROCESSING", unknown)
        self.wait_until(
            lambda: Transition.objects.filter(
                transaction=unknown, event="unknown"
            ).exists(),
            "the outcome to be unknown",
            worker,
        )
        self.bank_simulator.set_faults(mode="normal", latency=0.3)
        self.flood(worker)
        self.start_beat()
        self.wait_for(PAID, unknown, seconds=self.LOOKED_UP_SECONDS)

    def flood(self, worker: Process) -> None:
        """Schedule more than all drains can pay, with a message for each."""
        for _ in range(1000):
            self.soon(1)
        for _ in range(50):
            broker.publish(dispatch.DRAIN_PENDING)
        broker.flush(60)

    def test_of_processes(self) -> None:
        self.check("prefork")

    def test_of_one_process(self) -> None:
        self.check("one process")


@skipIf(connection.vendor == "sqlite", "on SQLite a worker's clock is the database's")
@skipIf(connection.vendor == "mysql", "one server with a clock of its own is enough")
@skipIf(clock_shim.missing(), clock_shim.missing())
@marks.slow
class WrongClockTest(WorkerTestCase):
    """The database's clock decides what is due, and not the programs' clocks."""

    # Later than the next tick, so that only Beat wakes a worker for it.
    LATER = 4
    OFFSETS = (12, -12, 45, -45, 7200, -7200, 0)

    def setUp(self) -> None:
        super().setUp()
        self.clock = SteppedClock(self.folder, "wrong")

    def check(self) -> None:
        """Check that withdrawals are paid after each step of the clock, none early."""
        for offset in self.OFFSETS:
            with self.subTest(offset=offset):
                self.clock.step_to(offset)
                withdrawals = [self.soon(seconds=1), self.soon(seconds=self.LATER)]
                self.wait_for(PAID, *withdrawals, seconds=30)
                for row in withdrawals:
                    self.assertGreaterEqual(row.executed_at, row.scheduled_for)

    def test_of_a_worker_makes_nothing_late_or_early(self) -> None:
        self.start_worker(variables=self.clock.variables)
        self.start_beat()
        self.check()

    def test_of_beat_makes_nothing_late_or_early(self) -> None:
        self.start_worker()
        self.start_beat(**self.clock.variables)
        self.check()

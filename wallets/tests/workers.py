"""Real workers, a real broker and the bank simulator, on the test's own database."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from drills import services
from drills.broker import OwnRedis
from drills.process import Process, wait_until
from wallets.models.transaction import Transaction
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import CommittingTestCase, database_environment
from wallets.tests.brokers import publishing_to

PAID, FAILED = Transaction.Status.COMPLETED, Transaction.Status.FAILED
# The amount of a probe: a withdrawal that only shows that the workers have finished.
PROBE = 999


class WorkerTestCase(CommittingTestCase):
    """Starts the processes of a test, and ends them before the ledger is verified."""

    times = services.PATIENT_TIMES

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.processes: list[Process] = []
        self.addCleanup(self.end_processes)
        self.broker_url = self.start_broker()
        self.bank_simulator = services.Bank(services.environment({}), self.folder)
        self.started(self.bank_simulator)
        self.bank_simulator.set_faults(failure_rate=0)
        context = publishing_to(self.broker_url)
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        self.deposit(10_000)

    def tearDown(self) -> None:
        self.end_processes()
        super().tearDown()

    def start_broker(self) -> str:
        """Start the test's own broker; return its address."""
        self.redis = OwnRedis(self.folder)
        self.started(self.redis)
        return self.redis.url

    def started(self, process: Process) -> None:
        self.processes.append(process)
        process.start()

    def end_processes(self) -> None:
        while self.processes:
            self.processes.pop().kill()

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the workers' environment: the test's database, broker and bank."""
        able = {"THIRD_PARTY_DEDUPES": "true", "THIRD_PARTY_LOOKUP": "true"}
        return services.environment(
            {
                **database_environment(),
                "CELERY_BROKER_URL": self.broker_url,
                "THIRD_PARTY_BASE_URL": self.bank_simulator.url,
                **able,
                **self.times,
                **changes,
            }
        )

    def start_worker(
        self,
        name: str = "worker",
        *,
        pool: Sequence[str] = ("-c", "2"),
        variables: Mapping[str, str] | None = None,
        **celery: Any,
    ) -> Process:
        """Start a worker with these Celery settings; wait until it is ready."""
        env = self.environment(CELERY_VARIANT=json.dumps(celery), **(variables or {}))
        app = "wallets.tests.celery_variant"
        process = services.worker(name, env, self.folder, app=app, pool=pool)
        self.started(process)
        ready = f"{name}@{socket.gethostname()} ready."
        self.wait_until(lambda: process.said(ready), "the worker to be ready", process)
        return process

    def start_beat(self, name: str = "beat", **variables: str) -> Process:
        process = services.beat(name, self.environment(**variables), self.folder)
        self.started(process)
        return process

    def wait_until(
        self, done: Any, what: str, *shown: Process, seconds: float = 60
    ) -> float:
        """Wait until `done`; at the time-out, show the end of the processes' logs."""
        try:
            return wait_until(done, seconds=seconds, what=what, poll=0.1)
        except TimeoutError as error:
            logs = [p.log.read_text(errors="replace")[-4000:] for p in shown]
            raise AssertionError("\n".join([str(error), *logs])) from None

    def soon(self, amount: int = 10, seconds: float = 1) -> Transaction:
        """Return a withdrawal that is due in some seconds."""
        now = timezone.now()
        due = now + timedelta(seconds=seconds)
        return WithdrawalService.schedule(self.alice.uuid, amount, due, now=now)

    def status(self, withdrawal: Transaction) -> str:
        withdrawal.refresh_from_db()
        return str(withdrawal.status)

    def wait_for(
        self, status: str, *withdrawals: Transaction, seconds: float = 60
    ) -> float:
        """Wait until all of them have this status."""
        return self.wait_until(
            lambda: all(self.status(row) == status for row in withdrawals),
            f"withdrawals to be {status}",
            *self.processes,
            seconds=seconds,
        )

    def payments(self) -> Counter[int]:
        """Return how often the bank really paid each amount, without the probes."""
        amounts = (payment["amount"] for payment in self.bank_simulator.payments())
        return Counter(amount for amount in amounts if amount != PROBE)

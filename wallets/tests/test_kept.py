"""Answers about locked rows, which a process keeps: they outlive its sweeps and its stop.

With real processes. `test_busy_wallets.py` has the same within one process.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import skipIf

from django.db import connection

from drills import services
from drills.process import Process
from wallets.tests import marks
from wallets.tests.workers import PAID, WorkerTestCase

# A process that does not wait for its threads ends within this time.
ENDS_WITHIN = 5.0


@skipIf(connection.vendor == "sqlite", "no row locks: the transaction is the lock")
@marks.slow
class StoppedProcessTest(WorkerTestCase):
    """SIGTERM, when a process has an answer about a locked wallet in hand…"""

    times = services.PATIENT_TIMES | {"WITHDRAWAL_RECORDING_TIME": "30"}

    @contextmanager
    def locked_wallet(self) -> Iterator[None]:
        person = connection.copy()
        try:
            with person.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(
                    "SELECT id FROM wallets_wallet WHERE id = %s FOR UPDATE",
                    [self.alice.pk],
                )
                yield
                cursor.execute("ROLLBACK")
        finally:
            person.close()

    def check(self, process: Process, over: str) -> None:
        """Stop the process after its sweep; `over` is what it says then."""
        self.bank_simulator.set_faults(failure_rate=0, latency=2.0)
        withdrawal = self.soon()
        self.wait_until(
            lambda: self.bank_simulator.payments(),
            "the bank to have paid and not yet answered",
            process,
        )
        with self.locked_wallet():
            self.wait_until(
                lambda: process.said("answers kept") and process.said(over),
                "the sweep to leave an answer to the process",
                process,
            )
            process.signal(signal.SIGTERM)
            time.sleep(ENDS_WITHIN)
            self.assertEqual(self.status(withdrawal), "PROCESSING")
        self.wait_until(lambda: not process.alive, "its end", process)
        self.assertEqual(self.status(withdrawal), PAID)
        self.assertEqual(self.payments(), {10: 1})

    def test_lets_a_worker_record_it_first(self) -> None:
        worker = self.start_worker(pool=("-c", "1"))
        self.check(worker, "task_succeeded")

    def test_lets_a_worker_of_one_process_record_it_first(self) -> None:
        worker = self.start_worker(pool=("-P", "solo"))
        self.check(worker, "task_succeeded")

    def test_lets_run_sweeps_record_it_first(self) -> None:
        sweeper = services.command(
            "sweeper", "run_sweeps", self.environment(), self.folder
        )
        self.started(sweeper)
        self.check(sweeper, "answers kept")

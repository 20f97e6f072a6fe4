"""A real process, whose wall clock is set between the send and the look-ups."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import skipIf

from django.test import SimpleTestCase

from drills import clock_shim
from drills import settings as drill_settings
from drills.clock_shim import SteppedClock
from wallets.tests import marks
from wallets.tests.simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
STEPS = (300.0, -300.0, 7200.0, -86400.0)
BOOKING = {"declared": 4.0, "real": 3.0}
# Sends one payment, lets its clock be set, and sweeps until the outcome is known.
PROGRAM = """
import sys, time
from datetime import timedelta
import django
django.setup()
from django.core.management import call_command
from wallets.models.transaction import Transaction
from wallets.services.payouts import sweeps
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.utils import clock
from wallets.utils.database.transactions import database_now

call_command("migrate", verbosity=0)
wallet = WalletService.create()
WalletService.deposit(wallet.uuid, 1000)
now = database_now()
due = now - timedelta(seconds=1)
row = WithdrawalService.schedule(wallet.uuid, 400, due, now=now - timedelta(hours=1))
WithdrawalService.execute(row.pk)
print("sent", flush=True)
sys.stdin.readline()
ends = clock.elapsed() + 60
while clock.elapsed() < ends:
    sweeps.resolve_unknown()
    sweeps.pay_retries()
    row.refresh_from_db()
    if row.status == "COMPLETED":
        break
    time.sleep(0.1)
print(row.status, row.attempts.count(), flush=True)
"""


@marks.slow
@skipIf(clock_shim.missing(), clock_shim.missing())
class SteppedProcessTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.simulator = Simulator()
        self.addCleanup(self.simulator.stop)

    def start(self, clock: SteppedClock, number: int) -> subprocess.Popen[str]:
        own = self.folder / str(number)
        own.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={
                **os.environ,
                **drill_settings.environment("sqlite", own),
                **clock.variables,
                "THIRD_PARTY_BASE_URL": self.simulator.url,
                "THIRD_PARTY_LOOKUP": "true",
                "THIRD_PARTY_BOOKING_TIME": str(BOOKING["declared"]),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        return process

    def test_pays_once_what_the_bank_books_late(self) -> None:
        """A past error: +300 s, "not found" twice at once, released, paid twice."""
        self.simulator.change(mode="late_booking", booking_delay=BOOKING["real"])
        clocks = [SteppedClock(self.folder, str(n)) for n in range(len(STEPS))]
        processes = [self.start(clock, n) for n, clock in enumerate(clocks)]
        for process in processes:
            self.assertEqual(process.stdout.readline(), "sent\n")
        self.simulator.change(mode="normal")
        for process, clock, step in zip(processes, clocks, STEPS, strict=True):
            clock.step(step)
            process.stdin.write("\n")
            process.stdin.flush()
        for process, step in zip(processes, STEPS, strict=True):
            with self.subTest(step=step):
                self.assertEqual(process.stdout.readline(), "COMPLETED 1\n")
        self.assertEqual(len(self.simulator.payments()), len(STEPS))

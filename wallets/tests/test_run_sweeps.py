"""`run_sweeps`: the same sweeps in one process, without a broker."""

from __future__ import annotations

import io
import shutil
import signal
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from drills import services
from drills.process import Process, wait_until
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.heartbeat import Heartbeat
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.operations import heartbeat, pause, reconciliation_daily
from wallets.services.payouts import sweeper, sweeps
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import OSCAR, CommittingTestCase, database_environment
from wallets.tests.fakes import Does, FakeBank
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.messaging import stopping

SWEEPS = {"pending", "retry", "resolve"}
# A sweep of due withdrawals ends by itself; a busy machine may begin late.
PATIENCE = 60
# Within so many seconds a pause has reached every process.
EVERYWHERE = 5.0
# Due sweeps are long, so that no withdrawal is left to a later sweep.
QUICK = {
    "WITHDRAWAL_DUE_INTERVAL": PATIENCE,
    "WITHDRAWAL_RETRY_INTERVAL": 1,
    "WITHDRAWAL_RESOLVE_INTERVAL": 1,
    "WITHDRAWAL_RETRY_BASE": 0.2,
    "WITHDRAWAL_POLL": 0.2,
}


@override_settings(**QUICK)
@marks.slow
class SweeperTest(CommittingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def sweep_until_paid(self, count: int) -> list[float]:
        """Sweep until `count` are paid; return the requested sleep before the first."""
        sleep, slept = stopping.wait, []

        def wait(seconds: float) -> bool:
            if not self.bank.requests:
                slept.append(seconds)
            return len(self.bank.paid) >= count or sleep(seconds)

        with mock.patch.object(stopping, "wait", wait):
            sweeper.run(seconds=PATIENCE, bank=self.bank)
        return slept

    def test_pays_what_is_due_in_one_round(self) -> None:
        withdrawals = [self.due_withdrawal(10) for _ in range(3)]
        counts = sweeper.run_once(bank=self.bank)
        self.assertEqual(counts["pending"], 3)
        self.assertEqual(len(self.bank.paid), len(withdrawals))

    def test_says_when_each_sweep_last_ran(self) -> None:
        sweeper.run_once(bank=self.bank)
        beats = dict(Heartbeat.objects.values_list("name", "ran_at"))
        self.assertEqual(set(beats), SWEEPS)
        self.assertTrue(all(ran_at >= self.now for ran_at in beats.values()))

    def test_pays_at_the_exact_time_and_tries_again_what_failed(self) -> None:
        now = timezone.now()
        due = now + timedelta(seconds=0.7)
        self.bank.script.extend([Does.REFUSE])
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 10, due, now=now)
        slept = self.sweep_until_paid(1)
        withdrawal.refresh_from_db()
        self.assertEqual((withdrawal.status, withdrawal.retry_count), ("COMPLETED", 1))
        first = withdrawal.attempts.first()
        self.assertGreaterEqual(first.started_at, due)
        self.assertLess(sum(slept), 1.7)

    def test_catches_up_with_everything_after_an_hour_of_silence(self) -> None:
        for minutes in range(60):
            self.due_withdrawal(minutes % 7 + 1)
        self.sweep_until_paid(60)
        references = self.bank.paid_references()
        self.assertEqual((len(references), len(set(references))), (60, 60))

    def test_goes_on_when_the_database_ends_a_sweep(self) -> None:
        withdrawal = self.due_withdrawal(10)
        real, failures = sweeps.pay_pending, iter([OperationalError("gone")])

        def pay_pending(**options: object) -> int:
            for failure in failures:
                raise failure
            return real(**options)

        with mock.patch.object(sweeps, "pay_pending", pay_pending):
            self.sweep_until_paid(1)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "COMPLETED")

    def test_ends_in_one_line_when_the_database_fails_a_single_round(self) -> None:
        with (
            mock.patch.object(
                sweeps, "resolve_unknown", side_effect=OperationalError("gone")
            ),
            mock.patch.object(signal, "signal"),  # those of the tests stay
            self.assertRaisesRegex(CommandError, "^The database cannot be used: gone$"),
        ):
            call_command("run_sweeps", "--once", stdout=io.StringIO())


@override_settings(**QUICK, THIRD_PARTY_STATEMENT=True)
class StatementTest(CommittingTestCase):
    """The comparison with the bank's list…"""

    def test_is_done_beside_the_payments(self) -> None:
        """A payment is made before the bank has answered with its list."""
        asked, answers, compared = (threading.Event() for _ in range(3))

        class SlowList(FakeBank):
            def statement(self, **period: Any) -> list[StatementLine]:
                asked.set()
                answers.wait(PATIENCE)
                return [StatementLine("INV-1", None, 1)]

        def beat(name: str) -> None:
            if name == heartbeat.STATEMENT:
                compared.set()

        def wait(seconds: float) -> bool:
            if asked.is_set() and self.bank.paid:
                answers.set()
            compared.wait(0.01)
            return compared.is_set()

        self.bank = SlowList()
        self.deposit(1000)
        self.due_withdrawal(100)
        with (
            mock.patch.object(reconciliation_daily, "get_bank", return_value=self.bank),
            mock.patch.object(heartbeat, "beat", beat),
            mock.patch.object(stopping, "wait", wait),
        ):
            sweeper.run(seconds=PATIENCE, bank=self.bank)
        self.assertTrue(compared.is_set())
        self.assertEqual(len(self.bank.paid), 1)
        self.assertEqual(Alarm.objects.get().kind, "unknown_payment")


@marks.slow
class RunSweepsProcessTest(CommittingTestCase):
    """The command as a process, beside another process of the same command."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.bank_simulator = services.Bank(services.environment({}), self.folder)
        self.addCleanup(self.bank_simulator.kill)
        self.bank_simulator.start()
        self.bank_simulator.set_faults(failure_rate=0)
        self.deposit(1000)

    def sweeper(self, name: str, *options: str, **changes: str) -> Process:
        env = services.environment(
            database_environment()
            | services.PATIENT_TIMES
            | {
                "THIRD_PARTY_BASE_URL": self.bank_simulator.url,
                # A port without a listener: the command needs no broker.
                "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            }
            | changes
        )
        command = [sys.executable, "manage.py", "run_sweeps", *options]
        process = Process(name, command, env=env, log=self.folder / f"{name}.log")
        self.addCleanup(process.kill)
        process.start()
        return process

    def paid(self) -> int:
        completed = Transaction.objects.filter(
            status="COMPLETED", transaction_type="WITHDRAWAL"
        )
        return completed.count()

    def test_pays_once_beside_another_and_ends_on_sigterm(self) -> None:
        sweepers = [self.sweeper(name) for name in ("one", "two")]
        for _ in range(20):
            self.due_withdrawal(10)
        wait_until(lambda: self.paid() == 20, seconds=PATIENCE, what="all to be paid")
        self.bank_simulator.set_faults(latency=1.0)
        self.due_withdrawal(10)
        self.stop_before_the_answer(sweepers, of=21)
        self.assertEqual(self.paid(), 21)
        self.assertEqual(len(self.bank_simulator.payments()), 21)

    def test_records_its_calls_and_ends_on_sigterm_during_a_single_round(self) -> None:
        self.due_withdrawal(10)
        self.bank_simulator.set_faults(latency=1.0)
        self.stop_before_the_answer([self.sweeper("one", "--once")], of=1)
        self.assertEqual(self.paid(), 1)

    def stop_before_the_answer(self, sweepers: list[Process], *, of: int) -> None:
        """Send SIGTERM when the bank has paid so many and not yet answered."""
        wait_until(
            lambda: len(self.bank_simulator.payments()) == of,
            seconds=PATIENCE,
            what="the bank to have paid and not yet answered",
        )
        for process in sweepers:
            process.signal(signal.SIGTERM)
        for process in sweepers:
            wait_until(lambda p=process: not p.alive, seconds=PATIENCE, what="its end")

    def test_takes_back_in_every_process_what_a_pause_finds_unsent(self) -> None:
        """Each process has claimed five; two of its calls are under way."""
        for _ in range(12):
            self.due_withdrawal(10)
        # Longer than the second process may need to start, shorter than the deadline.
        self.bank_simulator.set_faults(latency=20.0)
        able = {"THIRD_PARTY_DEDUPES": "true", "WITHDRAWAL_CONCURRENCY": "2"}
        for name in ("one", "two"):
            self.sweeper(name, **able)
        wait_until(
            lambda: (
                len(self.bank_simulator.payments()) == 4
                and Attempt.objects.count() == 10
            ),
            seconds=PATIENCE,
            what="two calls of each process",
        )
        made = pause.pause(reason="stop", actor=OSCAR)
        taken_back = Transition.objects.filter(event="not_sent")
        wait_until(
            lambda: taken_back.count() == 6, seconds=PATIENCE, what="six taken back"
        )
        last = max(taken_back.values_list("created_at", flat=True))
        self.assertLess((last - made.paused_at).total_seconds(), EVERYWHERE)
        self.assertEqual(len(set(taken_back.values_list("actor", flat=True))), 2)
        wait_until(lambda: self.paid() == 4, seconds=PATIENCE, what="the answers")
        self.assertEqual(len(self.bank_simulator.payments()), 4)
        self.assertEqual(Attempt.objects.count(), 10)

"""Demo data: a day of business through the services, only where it does no harm."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from io import StringIO

from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.operations import heartbeat
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase

Status = Transaction.Status


@marks.slow
class DemoTest(CommittingTestCase):
    def call(self, *args):
        out, err = StringIO(), StringIO()
        call_command("demo", "--wallets=5", "--withdrawals=40", stdout=out, stderr=err)
        return err.getvalue()

    def test_fills_a_fresh_system_with_a_day(self):
        progress = self.call()

        found = set(Transaction.objects.values_list("status", flat=True))
        self.assertLessEqual({Status.COMPLETED, Status.PENDING}, found)
        self.assertTrue(Attempt.objects.filter(outcome="accepted").exists())
        first = Transition.objects.earliest("created_at").created_at
        self.assertGreater((self.now - first).total_seconds(), 3600)
        ahead = Transaction.objects.filter(status=Status.PENDING)
        self.assertGreater(ahead.filter(scheduled_for__gt=self.now).count(), 10)
        self.assertIn("100%", progress)
        # The ledger is verified after every test.

    def test_agrees_with_the_simulators_list_and_with_every_check(self):
        url = self.start_simulator()
        with override_settings(THIRD_PARTY_BASE_URL=url):
            said = self.call()
            self.assertNotIn("No simulator", said)
            paid = Attempt.objects.filter(outcome="accepted")
            with urllib.request.urlopen(f"{url}/payments") as answer:
                listed = {line["reference"] for line in json.load(answer)}
            self.assertGreater(len(listed), 10)
            self.assertLessEqual({str(one.reference) for one in paid}, listed)
            for command in ("verify_ledger", "reconcile_bank", "check"):
                with self.subTest(command):
                    call_command(command, stdout=StringIO(), stderr=StringIO())

    def start_simulator(self):
        """Run the bank simulator until the test ends; return its address."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=settings.BASE_DIR / "third-party",
            env=os.environ
            | {"BANK_PORT": "0", "BANK_DATA": f"{folder.name}/bank.sqlite3"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.terminate)
        self.addCleanup(process.stderr.close)
        return process.stderr.readline().split()[-1]

    def test_says_in_one_line_that_no_simulator_took_its_payments(self):
        with override_settings(THIRD_PARTY_BASE_URL="http://127.0.0.1:9"):
            said = self.call()
        (line,) = [one for one in said.splitlines() if "simulator" in one]
        self.assertIn("No simulator at http://127.0.0.1:9 took the day's", line)

    def test_accepts_existing_data_on_request(self):
        self.deposit(1)
        before = Transaction.objects.count()
        call_command("demo", "--once", stdout=StringIO())
        self.assertEqual(Transaction.objects.count(), before)

    def test_writes_history_in_the_order_of_time(self):
        self.call()
        for wallet in Wallet.objects.all():
            rows = wallet.movements.order_by("sequence")
            times = list(rows.values_list("created_at", flat=True))
            self.assertEqual(times, sorted(times))
            self.assertTrue(all(wallet.created_at <= time for time in times))

    def refuses(self, words):
        before = Transaction.objects.count()
        with self.assertRaisesMessage(CommandError, words):
            self.call()
        self.assertEqual(Transaction.objects.count(), before)

    def test_is_refused_beside_real_data(self):
        self.deposit(1)
        self.refuses("holds transactions")

    def test_is_refused_where_a_real_bank_would_pay(self):
        with override_settings(THIRD_PARTY_BASE_URL="https://bank.example.com"):
            self.refuses("not this machine's simulator")

    def test_is_refused_while_workers_would_take_part(self):
        heartbeat.beat("pending")
        self.refuses("Workers are running")

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_is_refused_while_payouts_are_paused(self):
        self.refuses("WITHDRAWALS_PAUSED")

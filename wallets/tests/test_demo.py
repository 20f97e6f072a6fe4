"""Demo data: a day through the services, only where it can do no harm."""

from io import StringIO

from django.core.management import CommandError, call_command
from django.test import override_settings

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services import heartbeat
from wallets.tests import marks
from wallets.tests.base import WalletTestCase

Status = Transaction.Status


@marks.slow
class DemoTest(WalletTestCase):
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
        # That the books are right is seen after every test.

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

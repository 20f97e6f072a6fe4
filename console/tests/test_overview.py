"""The figures of the overview, from rows that the services have written."""

from datetime import timedelta

from django.core.cache import cache
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from console.queries import activity, overview
from console.tests.base import ConsoleTestCase
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import heartbeat
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import up_for
from wallets.tests.fakes import Does
from wallets.utils.database.transactions import database_now


class OverviewTest(ConsoleTestCase):
    def figures(self):
        cache.clear()
        return overview.overview()

    def test_counts_the_money(self):
        self.deposit(1000)
        self.deposit(50, self.bob)
        self.execute(300, Does.LOSE)

        found = self.figures()

        self.assertEqual(found.in_wallets, overview.Money({"IRR": 750}, 2))
        self.assertEqual(found.in_flight, overview.Money({"IRR": 300}, 1))
        self.assertEqual((found.unknown, found.in_review), (1, 0))
        self.assertEqual(found.oldest_unknown, self.now)

    @override_settings(THIRD_PARTY_CURRENCY="*")
    def test_adds_no_amounts_of_different_currencies(self):
        kuwaiti = WalletService.create(currency="KWD")
        for wallet in (self.alice, kuwaiti):
            self.deposit(1000, wallet)
            withdrawal = self.due_withdrawal(300, wallet)
            self.bank.script.append(Does.LOSE)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
            for minutes in (1, 3):
                due = database_now() + timedelta(minutes=minutes)
                WithdrawalService.schedule(wallet.uuid, 20, due)

        found = self.figures()

        self.assertEqual(found.in_wallets.amounts, {"IRR": 700, "KWD": 700})
        self.assertEqual(found.in_flight, overview.Money({"IRR": 300, "KWD": 300}, 2))
        self.assertEqual(found.due.total, overview.Money({"IRR": 40, "KWD": 40}, 4))
        page = self.client.get("/console/")
        for shown in ("700 IRR<br>0.700 KWD", "300 IRR<br>0.300 KWD"):
            self.assertContains(page, shown)

    def test_counts_what_is_overdue_also_where_it_waits_for_its_wallet(self):
        for waits in (False, True):
            row = self.due_withdrawal(10)
            Transaction.objects.filter(pk=row.pk).update(waits_for_wallet=waits)
        Wallet.objects.update(has_waiting=True)
        self.assertEqual(self.figures().overdue, 2)

    def test_bins_what_becomes_due_within_the_hour(self):
        for minutes, amount in ((1, 10), (3, 20), (3, 30), (61, 40)):
            due = database_now() + timedelta(minutes=minutes)
            WithdrawalService.schedule(self.alice.uuid, amount, due)
        found = self.figures()

        self.assertEqual(found.due.total, overview.Money({"IRR": 60}, 3))
        self.assertEqual([count for count in found.due.counts if count], [1, 2])
        self.assertEqual(found.overdue, 0)

    def test_shows_what_is_overdue(self):
        self.due_withdrawal(5)
        self.assertEqual(self.figures().overdue, 1)

    def test_counts_paid_failed_and_retried(self):
        self.deposit(1000)
        failed = self.execute(100, Does.REFUSE)
        self.execute(100)
        WithdrawalService.retry_now(failed.pk, actor="operator oscar")
        WithdrawalService.execute(failed.pk, bank=self.bank)

        found = self.figures()

        for key, count in (("paid", 2), ("failed", 1), ("retried", 1)):
            self.assertEqual(found.activity.total(key, last=60), count, key)
        shares = {share.name: share.count for share in found.bank}
        self.assertEqual(shares["accepted"], 2)
        self.assertEqual(shares["rejected"], 1)
        self.assertAlmostEqual(sum(share.percent for share in found.bank), 100)

    def test_measures_the_lateness_of_what_was_paid(self):
        self.deposit(1000)
        for late in (0, 1, 2, 30):
            withdrawal = self.due_withdrawal(10)
            WithdrawalService.execute(
                withdrawal.pk, bank=self.bank, now=self.after(late)
            )
        found = self.figures().lateness
        self.assertEqual((found.p50, found.p95, found.count), (1, 30, 4))

    def test_counts_a_settled_minute_once(self):
        self.deposit(1000)
        later = database_now() + timedelta(minutes=10)
        self.execute(10)
        before = activity.of_last_hour(later).total("paid", last=60)
        with self.assertNumQueries(1):
            again = activity.of_last_hour(later + timedelta(minutes=1))
        self.assertEqual((before, again.total("paid", last=60)), (1, 1))

    @up_for(3600)
    def test_names_the_sweeps_that_are_silent(self):
        heartbeat.beat("pending")
        self.assertEqual(self.figures().silent, ["retry", "resolve"])


class OverviewPageTest(ConsoleTestCase):
    @up_for(3600)
    def test_shows_the_figures(self):
        self.deposit(1_234_567)
        page = self.client.get("/console/")

        self.assertContains(page, "1,234,567")
        self.assertContains(page, "Needs attention")
        self.assertContains(page, 'hx-trigger="every 5s"')

    def test_says_that_all_is_well(self):
        for name in ("pending", "retry", "resolve"):
            heartbeat.beat(name)
        self.assertContains(self.client.get("/console/"), "All is well")

    def test_waits_for_the_first_sweeps(self):
        cache.clear()
        with up_for(1):
            page = self.client.get("/console/")
        self.assertContains(
            page, "The first turn of pending, retry, resolve is awaited."
        )
        self.assertNotContains(page, "All is well")
        self.assertNotContains(page, "Needs attention")

    def test_refreshes_only_its_figures(self):
        part = self.client.get("/console/", headers={"HX-Request": "true"})
        self.assertNotContains(part, "<html")
        self.assertContains(part, "In wallets")

    def test_can_be_paused(self):
        self.assertNotContains(self.client.get("/console/?live=off"), "hx-trigger")

    def test_costs_a_bounded_number_of_queries(self):
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            self.client.get("/console/")
        self.assertLessEqual(len(queries), 29)
        # Session, user, permissions, and the pause of payouts (banner and button).
        with self.assertNumQueries(6):
            self.client.get("/console/")

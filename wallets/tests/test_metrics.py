"""/metrics: Prometheus' own parser reads it, and its values are right."""

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from unittest import mock

from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory, SimpleTestCase, override_settings
from django.urls import path
from prometheus_client.parser import text_string_to_metric_families

from wallets.models.tally import Tally
from wallets.models.transaction import Transaction
from wallets.services.operations import heartbeat, metrics, pause, record
from wallets.services.operations.payment_return import record_return
from wallets.services.payouts import resolver
from wallets.services.transfers.transfer import transfer
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import call_wsgi, database_out_of_reach, keep_connection
from wallets.tests.base import CommittingTestCase, WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank
from wallets.tests.test_host_clock import host_is
from wallets.utils import request_metrics
from wallets.views import metrics as views
from wallets.views.http.wsgi import Handler
from wallets.views.metrics import count_requests

urlpatterns = [path("metrics", views.metrics)]
handler500 = "wallets.views.problems.from_exceptions.server_error"


def parse(text):
    """Return the value of every sample by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@override_settings(ROOT_URLCONF=__name__)
class OutageTest(CommittingTestCase):
    def test_is_answered_503(self):
        self.client.raise_request_exception = False
        with database_out_of_reach():
            answer = self.client.get("/metrics")
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer.json()["code"], "service_unavailable")
        self.assertEqual(answer.headers["Retry-After"], "5")


@override_settings(ROOT_URLCONF=__name__)
class ScrapeTest(WalletTestCase):
    def scrape(self, **headers):
        answer = self.client.get("/metrics", headers=headers)
        self.assertEqual(answer.status_code, 200, answer.content)
        return parse(answer.content.decode())

    def execute(self, amount, *does, late=0):
        self.bank.script.extend(does)
        withdrawal = self.due_withdrawal(amount)
        return WithdrawalService.execute(
            withdrawal.pk, bank=self.bank, now=self.after(late)
        )

    def test_tells_how_far_this_hosts_clock_is_ahead_of_the_databases(self):
        for ahead in (0.0, 45.0, -45.0):
            with host_is(timedelta(seconds=ahead)):
                found = self.scrape()[("wallet_clock_offset_seconds",)]
            # SQLite's clock is this host's.
            expected = 0.0 if connection.vendor == "sqlite" else ahead
            self.assertAlmostEqual(found, expected, delta=1)

    def test_tells_while_payouts_are_paused(self):
        for paused in (0, 1):
            self.assertEqual(self.scrape()[("wallet_payouts_paused",)], paused)
            pause.pause(reason="x", actor="operator oscar")
        found = self.scrape()
        self.assertEqual(found[("wallet_alarms_open", ("kind", "payouts_paused"))], 1)
        pause.resume(actor="operator oscar")
        self.assertEqual(self.scrape()[("wallet_payouts_paused",)], 0)
        with override_settings(WITHDRAWALS_PAUSED=True):
            self.assertEqual(self.scrape()[("wallet_payouts_paused",)], 1)

    def test_tells_how_late_the_oldest_retry_is(self):
        self.assertEqual(self.scrape()[("wallet_oldest_retry_due_seconds",)], 0)
        self.refused_withdrawal(1, at=self.after(-5 * 3600))
        found = self.scrape()
        self.assertEqual(found[("wallet_retries_due",)], 1)
        self.assertGreater(found[("wallet_oldest_retry_due_seconds",)], 17_900)
        self.assertEqual(found[("wallet_oldest_due_seconds",)], 0)

    def test_counts_what_was_recorded_as_paid_and_not_as_late(self):
        self.deposit(1000)
        early = self.now - timedelta(days=3)
        record.record_paid(
            self.due_withdrawal(1).pk, evidence="x", actor="oscar", paid_at=early
        )
        found = self.scrape()
        self.assertEqual(found[("wallet_withdrawals_total", ("outcome", "paid"))], 1)
        self.assertEqual(found[("wallet_withdrawal_lateness_seconds_count",)], 0)

    def test_tells_which_share_of_calls_brought_no_answer(self):
        self.deposit(1000)
        self.assertEqual(self.scrape()[("wallet_bank_lost_share",)], 0)
        self.execute(1, Does.LOSE)
        self.execute(1, Does.UNREACHABLE)
        self.execute(1, Does.REFUSE)
        self.execute(1, Does.PAY)
        self.assertEqual(self.scrape()[("wallet_bank_lost_share",)], 0.5)

    def test_tells_what_has_happened(self):
        self.deposit(1000)
        self.execute(100)
        self.execute(50, late=3)
        self.execute(5000)  # more than the balance
        WithdrawalService.cancel(self.due_withdrawal(1).pk)
        transfer(self.alice.uuid, self.bob.uuid, 70)
        paid = Transaction.objects.filter(status="COMPLETED", amount=50).get()
        told = {"return_reference": "1", "reason": "closed", "actor": "oscar"}
        record_return(paid.pk, 45, **told)

        found = self.scrape()

        for name, value in (
            (("wallet_deposits_total",), 1),
            (("wallet_deposits_amount_total",), 1000),
            (("wallet_payouts_amount_total",), 150),
            (("wallet_transfers_total",), 1),
            (("wallet_transfers_amount_total",), 70),
            (("wallet_returns_total",), 1),
            (("wallet_returns_amount_total",), 45),
            (("wallet_withdrawals_total", ("outcome", "paid")), 2),
            (("wallet_withdrawals_total", ("outcome", "failed")), 1),
            (("wallet_withdrawals_total", ("outcome", "cancelled")), 1),
            (("wallet_withdrawal_events_total", ("event", "accepted")), 2),
            (("wallet_withdrawal_lateness_seconds_bucket", ("le", "0.1")), 1),
            (("wallet_withdrawal_lateness_seconds_bucket", ("le", "5")), 2),
            (("wallet_withdrawal_lateness_seconds_count",), 2),
            (("wallet_withdrawal_lateness_seconds_sum",), 3),
        ):
            with self.subTest(name=name):
                self.assertEqual(found[name], value)

    def test_shows_the_current_state(self):
        self.deposit(1000)
        self.execute(100, Does.LOSE)
        self.due_withdrawal(7)
        resolver.resolve_due(bank=FakeBank(BARE), limit=5, now=self.after(60))
        heartbeat.beat("pending")

        found = self.scrape()

        for name, value in (
            (("wallet_in_flight_amount",), 100),
            (("wallet_in_flight",), 1),
            (("wallet_unknown",), 1),
            (("wallet_needs_review",), 1),
            (("wallet_due",), 1),
            (("wallet_alarms_open", ("kind", "needs_review")), 1),
            (("wallet_sweep_age_seconds", ("sweep", "retry")), float("inf")),
        ):
            with self.subTest(name=name):
                self.assertEqual(found[name], value)
        age = found[("wallet_sweep_age_seconds", ("sweep", "pending"))]
        self.assertLess(age, 60)

    def test_takes_no_other_method(self):
        for method in ("post", "put", "delete", "options"):
            answer = getattr(Client(enforce_csrf_checks=True), method)("/metrics")
            self.assertEqual(answer.status_code, 405)
            self.assertEqual(answer.json()["code"], "method_not_allowed")
            self.assertEqual(answer.headers["Allow"], "GET, HEAD")

    @override_settings(METRICS_TOKEN="long enough a token")
    def test_requires_the_token_if_one_is_set(self):
        wrong = ("Bearer", "Bearer wrong", "long enough a token", "Basic")
        for sent in (
            "",
            *wrong,
            "Basic long enough a token",
            "Bearer Long enough a token",
        ):
            with self.subTest(sent=sent):
                answer = self.client.get("/metrics", headers={"Authorization": sent})
                self.assertEqual(answer.status_code, 401)
                challenge = 'Bearer realm="metrics"'
                if sent.startswith("Bearer"):
                    # As for keys; without a token of ours there is no error to tell.
                    challenge += ', error="invalid_token"'
                self.assertEqual(answer.headers["WWW-Authenticate"], challenge)
        # The name of a scheme has any case (RFC 9110, 11.1).
        for scheme in ("Bearer", "bearer", "BEARER"):
            self.scrape(Authorization=f"{scheme} long enough a token")

    def test_is_not_read_under_another_host_name(self):
        """A page whose name resolves to this machine (DNS rebinding) must learn nothing."""
        keep_connection(self)
        for token, sent, expected in (
            ("", "", "400"),
            ("", "Bearer ", "400"),
            ("long enough a token", "", "401"),
            ("long enough a token", "Bearer long enough a token", "200"),
        ):
            with (
                self.subTest(token=token, sent=sent),
                override_settings(METRICS_TOKEN=token),
            ):
                # The test client has Django's request, not the servers' one.
                status, _, body = call_wsgi(
                    Handler(),
                    "/metrics",
                    REQUEST_METHOD="GET",
                    HTTP_HOST="evil.example",
                    HTTP_AUTHORIZATION=sent,
                )
                self.assertEqual(status[:3], expected)
                self.assertEqual(b"wallet_" in body, expected == "200")


class CountingTest(WalletTestCase):
    def count(self, minutes):
        """Count when the clock shows this many minutes from now."""
        with mock.patch.object(
            metrics, "database_now", return_value=self.after(60 * minutes)
        ):
            return metrics.figures().totals

    def test_counts_what_is_settled_only_once(self):
        self.deposit(10)
        first = self.count(2)
        tally = Tally.objects.get(name="movement")
        self.assertEqual((tally.upto > 0, tally.totals["count:deposit"]), (True, 1))

        self.deposit(20)
        second = self.count(2)

        self.assertEqual((first["amount:deposit"], second["amount:deposit"]), (10, 30))

    def test_caches_nothing_that_may_still_change(self):
        self.deposit(10)
        self.assertEqual(self.count(0.5)["count:deposit"], 1)
        pk = self.alice.movements.get().pk
        for tally in Tally.objects.filter(name="movement"):
            self.assertLess(tally.upto, pk)
            self.assertEqual(tally.totals, {})

    @marks.slow
    def test_gives_the_same_result_in_parts(self):
        self.deposit(1000)
        for amount in (1, 2, 3):
            withdrawal = self.due_withdrawal(amount)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        whole = self.count(0)
        with mock.patch.object(metrics, "BATCH", 2):
            for _ in range(12):
                last = self.count(5)
        self.assertEqual(last, whole)

    def test_does_not_count_twice_when_two_count_at_once(self):
        self.deposit(10)
        stale = Tally.objects.get_or_create(name="movement")[0]
        self.count(2)
        metrics._keep(stale, 10**6, metrics.Counter({"count:deposit": 99}))
        self.assertEqual(self.count(2)["count:deposit"], 1)


class RequestsTest(SimpleTestCase):
    def test_are_counted_by_route_never_by_path(self):
        for path_, method in (("/wallets/1", "GET"), ("/wallets/2", "BREW")):
            request = RequestFactory().generic(method, path_)
            request.resolver_match = mock.Mock(route="wallets/<id>")
            count_requests(lambda _request: HttpResponse(status=204))(request)
        found = parse(_text())
        for method in ("GET", "other"):
            labels = [("method", method), ("route", "wallets/<id>"), ("status", "204")]
            self.assertEqual(found[("wallet_http_requests_total", *labels)], 1)
            count = "wallet_http_request_seconds_count"
            self.assertIn((count, *labels[:2]), found)

    def test_of_several_processes_are_added(self):
        script = (
            "from wallets.utils import request_metrics as r;"
            "r.REQUESTS.labels('GET', 'x', '200').inc()"
        )
        with tempfile.TemporaryDirectory() as folder:
            env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": folder}
            for _ in range(2):
                subprocess.run(
                    [sys.executable, "-c", script],
                    env=env,
                    cwd=settings.BASE_DIR,
                    check=True,
                )
            with mock.patch.dict(os.environ, env):
                found = parse(_text())
        labels = (("method", "GET"), ("route", "x"), ("status", "200"))
        self.assertEqual(found[("wallet_http_requests_total", *labels)], 2)

    def test_are_counted_only_where_it_is_switched_on(self):
        self.assertEqual(self.client.get("/metrics").status_code, 404)
        self.assertNotIn("wallets.views.metrics.count_requests", settings.MIDDLEWARE)


def _text():
    from prometheus_client import generate_latest

    return generate_latest(request_metrics.registry()).decode()

"""The admin shows everything, and writes only through services."""

from __future__ import annotations

import html
import re
from unittest import mock, skipUnless

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import RequestFactory
from django.urls import reverse

from wallets.errors import LostRace
from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.operations import review
from wallets.services.payouts import resolver
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank


@skipUnless(settings.ADMIN_ENABLED, "the admin is switched off")
@marks.slow
class AdminTest(WalletTestCase):
    """Oscar is a superuser; Olga may only view."""

    def setUp(self) -> None:
        super().setUp()
        self.oscar = User.objects.create_superuser("oscar")
        self.olga = User.objects.create_user("olga", is_staff=True)
        self.olga.user_permissions.set(
            Permission.objects.filter(
                content_type__app_label="wallets", codename__startswith="view_"
            )
        )
        self.client.force_login(self.oscar)
        self.deposit(1000)
        self.withdrawal = self.in_review()

    def in_review(self) -> Transaction:
        withdrawal = self.due_withdrawal(60)
        bank = FakeBank(BARE, script=(Does.PAY_SILENTLY,))
        WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
        resolver.resolve_due(bank=bank, limit=10, now=self.after(600))
        withdrawal.refresh_from_db()
        return withdrawal

    def url(self, model: str, tail: str = "") -> str:
        return f"/admin/wallets/{model}/{tail}"

    def models(self) -> list[str]:
        return [
            model._meta.model_name
            for model in apps.get_app_config("wallets").get_models()
        ]

    def test_shows_times_to_the_second(self) -> None:
        page = self.client.get(self.url("transaction"))
        due = self.withdrawal.scheduled_for
        self.assertContains(page, f"{due:%Y-%m-%d %H:%M:%S}")
        self.assertContains(page, "Wallet Service")

    def test_shows_every_model(self) -> None:
        for model in apps.get_app_config("wallets").get_models():
            with self.subTest(model=model.__name__):
                self.assertIn(model, admin.site._registry)
                name = model._meta.model_name
                self.assertEqual(self.client.get(self.url(name)).status_code, 200)
                row = model.objects.first()
                if row is not None:
                    page = self.client.get(self.url(name, f"{row.pk}/change/"))
                    self.assertEqual(page.status_code, 200)
                    self.assertNotContains(page, 'name="_save"')

    def test_adds_changes_and_deletes_nothing(self) -> None:
        before = self.withdrawal.transitions.count(), self.alice.movements.count()
        for name in self.models():
            model = apps.get_model("wallets", name)
            row = model.objects.first()
            tails = ["add/"]
            if row is not None:
                tails += [f"{row.pk}/change/", f"{row.pk}/delete/"]
            for tail in tails:
                with self.subTest(model=name, tail=tail):
                    answer = self.client.post(
                        self.url(name, tail), {"amount": 1, "post": "yes"}
                    )
                    self.assertEqual(answer.status_code, 403)
            rows = {"action": "delete_selected", "_selected_action": "1", "post": "yes"}
            self.client.post(self.url(name), rows)
        self.assertEqual(
            before, (self.withdrawal.transitions.count(), self.alice.movements.count())
        )

    def test_lets_nobody_delete_or_add_log_in_records(self) -> None:
        for model in apps.get_app_config("axes").get_models():
            name = model._meta.model_name
            if model not in admin.site._registry:
                self.assertEqual(name, "accessattemptexpiration")
                continue
            with self.subTest(model=name):
                columns = {"username": "oscar", "attempt_time": self.now}
                if name == "accessattempt":
                    columns["failures_since_start"] = 1
                row = model.objects.create(**columns)
                for tail in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
                    answer = self.client.post(f"/admin/axes/{name}/{tail}", {})
                    self.assertEqual(answer.status_code, 403)
                page = self.client.get(f"/admin/axes/{name}/")
                self.assertContains(page, "oscar")
                self.assertNotContains(page, "delete_selected")
                rows = {"action": "delete_selected", "_selected_action": row.pk}
                self.client.post(f"/admin/axes/{name}/", rows | {"post": "yes"})
                self.assertTrue(model.objects.filter(pk=row.pk).exists())

    def test_gives_nobody_the_permission_to_delete_kept_rows(self) -> None:
        request = RequestFactory().get("/")
        request.user = self.oscar
        for model, its_admin in admin.site._registry.items():
            if model._meta.app_label in ("wallets", "axes"):
                with self.subTest(model=model.__name__):
                    self.assertFalse(its_admin.has_delete_permission(request))
                    self.assertFalse(its_admin.has_add_permission(request))
                    self.assertNotIn("delete_selected", its_admin.get_actions(request))

    def test_finds_by_exact_id_and_uuid(self) -> None:
        attempt = self.withdrawal.attempts.get()
        for term in (
            self.withdrawal.pk,
            attempt.reference,
            self.withdrawal.idempotency_key,
            self.alice.uuid,
        ):
            with self.subTest(term=term):
                page = self.client.get(self.url("transaction"), {"q": str(term)})
                self.assertContains(page, f"/transaction/{self.withdrawal.pk}/change/")

    def test_finds_the_wallets_of_a_tenant(self) -> None:
        made = WalletService.create(tenant="acme")
        for term, shown in (("acme", True), ("acm", False)):
            page = self.client.get(self.url("wallet"), {"q": term})
            its = f"/wallet/{made.pk}/change/"
            self.assertEqual(its in page.content.decode(), shown)
            self.assertNotContains(page, f"/wallet/{self.alice.pk}/change/")

    def test_finds_nothing_for_nonsense(self) -> None:
        for model in self.models():
            for term in ("x", "9" * 40, "-1", "٣", "%", "a" * 500):
                with self.subTest(model=model, term=term):
                    page = self.client.get(self.url(model), {"q": term})
                    self.assertEqual(page.status_code, 200)
                    if model not in ("heartbeat", "tally"):
                        self.assertNotContains(
                            page, f"/{model}/{self.withdrawal.pk}/change/"
                        )

    def test_survives_what_no_column_can_hold(self) -> None:
        for model in self.models():
            for tail in (f"{'9' * 40}/change/", "x/change/", "?q=%00"):
                with self.subTest(model=model, tail=tail):
                    answer = self.client.get(self.url(model, tail))
                    self.assertLess(answer.status_code, 500)
        answer = self.client.get(self.url("transaction", f"{'9' * 40}/resolve/"))
        self.assertEqual(answer.status_code, 404)

    def lists(self) -> list[str]:
        """Return the URL of each list of the admin."""
        return [
            reverse(
                f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
            )
            for model in admin.site._registry
        ]

    def test_filters_by_nothing_but_its_filters(self) -> None:
        """Each engine fails in ways of its own, and not before the query is run."""
        hostile = (
            *("id__regex=(", "pk__gt=1", "id=1", "pk__in=1,2", "nonsense=1"),
            *("created_at__year=0", "attempt_time__year=0", "last_login__year=0"),
            *("reference__regex=(", "name__iregex=[", "username__regex=(", "id__in="),
            *("password__startswith=a", "wallet__reference__regex=("),
            "acknowledged_at__exact=0001-01-01T00:00:00%2B14:00",
            "status__regex=(",
        )
        for url in self.lists():
            for query in hostile:
                with self.subTest(url, query=query):
                    answer = self.client.get(f"{url}?{query}")
                    # A name of no column leads back to the list.
                    self.assertIn(answer.status_code, (302, 400))

    def test_survives_any_value_of_a_filter(self) -> None:
        names = (
            "needs_review__exact",
            "status__exact",
            "status__isnull",
            "p",
            "o",
            "all",
        )
        names += ("acknowledged_at__isempty", "groups__id__exact", "open__isnull", "e")
        names += ("is_staff__exact", "groups__isnull", "_to_field", "_popup", "_facets")
        # Databases differ only in the numbers that they take.
        values = ("9" * 30,) if connection.vendor != "sqlite" else ("9" * 30, "", "[x")
        for url in self.lists():
            for name in names:
                for value in values:
                    with self.subTest(url, name=name, value=value):
                        answer = self.client.get(url, {name: value})
                        self.assertLess(answer.status_code, 500)

    def test_follows_each_link_of_its_filters(self) -> None:
        Group.objects.create(name="desk")
        followed = 0
        for url in self.lists():
            page = self.client.get(url).content.decode()
            for link in re.findall(r'<a href="(\?[\w=&;]+)"', page):
                with self.subTest(url, link=link):
                    answer = self.client.get(url + html.unescape(link))
                    self.assertEqual(answer.status_code, 200)
                followed += 1
        self.assertGreater(followed, 60)

    def test_filters_what_needs_a_review(self) -> None:
        other = self.due_withdrawal(5)
        page = self.client.get(self.url("transaction"), {"needs_review__exact": "1"})
        self.assertContains(page, f"/transaction/{self.withdrawal.pk}/change/")
        self.assertNotContains(page, f"/transaction/{other.pk}/change/")

    def resolve(self, **values: str):
        return self.client.post(
            self.url("transaction", f"{self.withdrawal.pk}/resolve/"), values
        )

    def test_names_its_lists_in_english(self) -> None:
        page = self.client.get(reverse("admin:index")).content.decode()
        names = re.findall(r'<a href="/admin/\w+/\w+/">([^<]+)</a>', page)
        self.assertIn("Tallies", names)
        wrong = [name for name in names if re.search("[^aeiou]ys$|[sxz]s$", name)]
        self.assertEqual(wrong, [])

    def test_leads_from_the_withdrawal_to_its_resolution(self) -> None:
        page = self.client.get(self.url("transaction", f"{self.withdrawal.pk}/change/"))
        link = self.url("transaction", f"{self.withdrawal.pk}/resolve/")
        self.assertContains(page, link)
        page = self.client.get(link)
        self.assertContains(page, str(self.withdrawal.attempts.get().reference))
        self.assertContains(page, "60 IRR from wallet")

    def test_resolves_as_paid_with_evidence_and_actor(self) -> None:
        self.resolve(outcome="paid", evidence="statement 7")
        self.withdrawal.refresh_from_db()
        self.assertEqual(self.withdrawal.status, "COMPLETED")
        last = self.withdrawal.transitions.last()
        self.assertEqual((last.actor, last.evidence), ("operator oscar", "statement 7"))
        self.assert_money(self.alice, balance=940)

    def test_logs_who_resolved_and_from_where(self) -> None:
        with self.assertLogs("wallets.utils.deeds", "INFO") as logs:
            self.resolve(outcome="paid", evidence="statement 7")
        (record,) = logs.records
        oscar = User.objects.get(username="oscar")
        self.assertEqual(
            (record.getMessage(), record.__dict__["user_id"]),
            ("operator: resolve paid", oscar.pk),
        )
        self.assertEqual(record.__dict__["address"], "127.0.0.1")

    def test_resolves_as_not_paid(self) -> None:
        self.resolve(outcome="not_paid", evidence="the bank's letter")
        self.assert_money(self.alice, balance=1000)

    def test_resolves_nothing_without_evidence_or_outcome(self) -> None:
        for values in (
            {},
            {"outcome": "paid"},
            {"outcome": "paid", "evidence": " "},
            {"outcome": "maybe", "evidence": "x"},
            {"outcome": "paid", "evidence": "x" * 2001},
        ):
            with self.subTest(values=values):
                self.assertEqual(self.resolve(**values).status_code, 200)
        self.withdrawal.refresh_from_db()
        self.assertTrue(self.withdrawal.needs_review)

    def test_resolves_once_only(self) -> None:
        self.resolve(outcome="paid", evidence="statement 7")
        self.assertEqual(
            self.resolve(outcome="not_paid", evidence="x").status_code, 404
        )
        self.assert_money(self.alice, balance=940)

    def test_tells_who_was_too_late(self) -> None:
        """Another process changed the withdrawal between our look and our write."""
        with mock.patch.object(review, "resolve", side_effect=LostRace("somebody won")):
            done = self.client.post(
                self.url("transaction", f"{self.withdrawal.pk}/resolve/"),
                {"outcome": "paid", "evidence": "statement 7"},
                follow=True,
            )
        self.assertContains(done, "Not resolved: another process was faster. Try again")
        self.withdrawal.refresh_from_db()
        self.assertTrue(self.withdrawal.needs_review)

    def test_refuses_a_resolution_by_a_viewer(self) -> None:
        self.client.force_login(self.olga)
        change = self.client.get(
            self.url("transaction", f"{self.withdrawal.pk}/change/")
        )
        self.assertNotContains(change, "/resolve/")
        self.assertEqual(self.resolve(outcome="paid", evidence="x").status_code, 403)

    def acknowledge(self) -> None:
        alarm = Alarm.objects.get()
        self.client.post(
            self.url("alarm"), {"action": "acknowledge", "_selected_action": alarm.pk}
        )

    def test_acknowledges_alarms(self) -> None:
        self.acknowledge()
        self.assertEqual(Alarm.objects.get().acknowledged_by, "operator oscar")

    def test_refuses_an_acknowledgement_by_a_viewer(self) -> None:
        self.client.force_login(self.olga)
        self.acknowledge()
        self.assertIsNone(Alarm.objects.get().acknowledged_at)

    def test_requires_a_login(self) -> None:
        self.client.logout()
        for tail in ("", f"{self.withdrawal.pk}/resolve/"):
            self.assertEqual(
                self.client.get(self.url("transaction", tail)).status_code, 302
            )

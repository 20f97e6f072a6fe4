"""Who may log in, see pages and act, and what other users get."""

from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

from console import urls
from console.tests.base import ConsoleTestCase, staff, views
from wallets.services.operations import pause, review
from wallets.tests.api import database_out_of_reach
from wallets.tests.base import OSCAR, CommittingTestCase, quick_passwords
from wallets.tests.fakes import Does

HTMX = {"HX-Request": "true"}
# Pages that need another permission than to view, or none.
BUTTONS_AND_LOGIN = {
    "cancel",
    "reschedule",
    "retry",
    "resolve",
    "wallet_life",
    "record",
    "return",
    "acknowledge",
    "pause",
} | {
    "resume",
    "correct",
    "login",
    "logout",
    "nowhere",
}


class AccessTest(ConsoleTestCase):
    def pages(self):
        withdrawal = self.withdrawal_in_review(10)
        return {
            reverse("console:overview"): 200,
            reverse("console:withdrawals"): 200,
            reverse("console:withdrawal", args=[withdrawal.pk]): 200,
            reverse("console:wallets"): 200,
            reverse("console:wallet", args=[self.alice.uuid]): 200,
            reverse("console:review"): 200,
            reverse("console:alarms"): 200,
            reverse("console:payouts"): 200,
            reverse("console:cancel", args=[withdrawal.pk]): 403,
            reverse("console:wallet_life", args=[self.alice.uuid, "close"]): 403,
            reverse("console:reschedule", args=[withdrawal.pk]): 403,
            reverse("console:retry", args=[withdrawal.pk]): 403,
            reverse("console:record", args=[withdrawal.pk]): 403,
            reverse("console:return", args=[withdrawal.pk]): 403,
            reverse("console:resolve", args=[withdrawal.pk, "paid"]): 403,
            reverse("console:acknowledge", args=[1]): 403,
            reverse("console:correct", args=[self.typed.pk]): 403,
        }

    def setUp(self):
        super().setUp()
        self.typed = self.deposit(1000)

    def test_redirects_to_the_login_without_one(self):
        self.client.logout()
        for path in self.pages():
            with self.subTest(path=path):
                answer = self.client.get(path)
                self.assertRedirects(
                    answer,
                    f"{reverse('console:login')}?next={path}",
                    fetch_redirect_response=False,
                )

    def test_sends_a_refreshing_page_to_the_login_as_a_whole(self):
        self.client.logout()
        answer = self.client.get("/console/", headers=HTMX)
        self.assertEqual(answer.headers["HX-Redirect"], reverse("console:login"))

    def test_does_not_let_a_user_in_who_is_no_staff(self):
        self.oscar.is_staff = False
        self.oscar.save()
        self.assertEqual(self.client.get("/console/").status_code, 302)

    def test_lets_staff_look_and_only_operators_act(self):
        for user, denied in ((self.olga, 403), (self.oscar, 200)):
            self.client.force_login(user)
            for path, expected in self.pages().items():
                if "acknowledge" in path and user is self.oscar:
                    continue
                with self.subTest(path=path, user=user.username):
                    wanted = denied if expected == 403 else 200
                    self.assertEqual(self.client.get(path).status_code, wanted)

    def test_shows_no_button_to_who_may_not_press_it(self):
        withdrawal = self.withdrawal_in_review(10)
        path = reverse("console:withdrawal", args=[withdrawal.pk])
        self.assertContains(self.client.get(path), "The bank paid")
        self.client.force_login(self.olga)
        self.assertNotContains(self.client.get(path), "The bank paid")

    def test_is_never_cached(self):
        for path in self.pages():
            self.assertIn("no-store", self.client.get(path).headers["Cache-Control"])

    def test_answers_any_other_path_with_a_page(self):
        for path in (
            "/console/nowhere",
            "/console/withdrawals/0",
            "/console/wallets/x",
        ):
            answer = self.client.get(path)
            self.assertContains(answer, "There is no such page", status_code=404)

    def test_answers_what_is_not_there_with_a_page(self):
        for name, args in (
            ("withdrawal", [10**17]),
            ("wallet", ["00000000-0000-4000-8000-000000000000"]),
            ("cancel", [10**17]),
        ):
            with self.subTest(name=name):
                answer = self.client.get(reverse(f"console:{name}", args=args))
                self.assertContains(answer, "There is no", status_code=404)


class PermissionTest(ConsoleTestCase):
    """Each page needs the same permissions as the admin."""

    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.withdrawal_in_review(10)

    def see(self, page, *permissions, args=()):
        User.objects.filter(username="nina").delete()
        self.client.force_login(staff("nina", *permissions))
        return self.client.get(reverse(f"console:{page}", args=args))

    def needed(self):
        """Return each page, its arguments, and its required permissions."""
        withdrawal, wallet = [self.withdrawal.pk], [self.alice.uuid]
        return (
            ("overview", (), ["view_transaction"]),
            ("withdrawals", (), ["view_transaction"]),
            ("withdrawal", withdrawal, ["view_transaction"]),
            ("wallets", (), ["view_wallet"]),
            ("wallet", wallet, ["view_wallet"]),
            ("review", (), ["view_transaction", "view_attempt"]),
            ("alarms", (), ["view_alarm"]),
            ("payouts", (), ["view_pause"]),
        )

    def test_is_asked_for_by_every_page(self):
        asking = {name for name, _, _ in self.needed()}
        every = {p.name for p in urls.urlpatterns if p.name not in BUTTONS_AND_LOGIN}
        self.assertEqual(every, asking)

    def test_opens_its_own_page_only_and_is_named_where_it_is_missing(self):
        for page, args, needed in self.needed():
            for lacking in needed:
                with self.subTest(page=page, lacking=lacking):
                    others = [one for one in views() if one != lacking]
                    answer = self.see(page, *others, args=args)
                    words = f"(wallets.{lacking})"
                    self.assertContains(answer, words, status_code=403)
            with self.subTest(page=page):
                answer = self.see(page, *needed, args=args)
                self.assertEqual(answer.status_code, 200)

    def test_shows_of_a_page_what_it_covers(self):
        withdrawal, wallet = [self.withdrawal.pk], [self.alice.uuid]
        with override_settings(REVIEW_TWO_PERSONS=True):
            review.resolve(
                self.withdrawal.pk, paid=False, evidence="Mrs Smith", actor=OSCAR
            )
        for page, args, permission, words in (
            ("overview", (), "view_wallet", "In wallets"),
            ("overview", (), "view_alarm", "Open alarms"),
            ("withdrawal", withdrawal, "view_attempt", "Attempts at the bank"),
            ("withdrawal", withdrawal, "view_transition", "<h2>History"),
            ("withdrawal", withdrawal, "view_movement", "<h2>Money"),
            ("withdrawal", withdrawal, "view_alarm", ">Alarms</h2>"),
            ("wallet", wallet, "view_movement", "Balance over time"),
            ("withdrawal", withdrawal, "view_reviewproposal", "Mrs Smith"),
            ("review", (), "view_reviewproposal", "Mrs Smith"),
            ("alarms", (), "view_transaction", "attempt 1 · 10 IRR</dd>"),
        ):
            with self.subTest(page=page, permission=permission):
                self.assertContains(self.see(page, *views(), args=args), words)
                others = [one for one in views() if one != permission]
                self.assertNotContains(self.see(page, *others, args=args), words)

    def test_leads_only_to_what_one_may_see(self):
        answer = self.see("alarms", "view_alarm")
        for page in ("withdrawals", "review"):
            self.assertNotContains(answer, f'href="{reverse(f"console:{page}")}"')
        answer = self.see("alarms")
        self.assertNotContains(
            answer, f'href="{reverse("console:alarms")}"', status_code=403
        )

    def test_covers_the_reason_of_a_pause(self):
        pause.pause(reason="Mrs Smith called", actor=OSCAR)
        answer = self.see("alarms")
        self.assertContains(answer, "Payouts are paused", status_code=403)
        self.assertNotContains(answer, "Mrs Smith", status_code=403)

    def test_to_act_includes_all_permissions_to_view(self):
        for page, args, _ in self.needed():
            with self.subTest(page=page):
                answer = self.see(page, "change_transaction", args=args)
                self.assertEqual(answer.status_code, 200)


@quick_passwords
class LoginTest(ConsoleTestCase):
    def setUp(self):
        super().setUp()
        self.oscar.set_password("right")
        self.oscar.save()
        self.client.logout()

    def log_in(self, username="oscar", password="right", **more):
        data = {"username": username, "password": password, **more}
        return self.client.post(reverse("console:login"), data)

    def test_leads_to_the_requested_page(self):
        answer = self.log_in(next=reverse("console:review"))
        self.assertRedirects(answer, reverse("console:review"))

    def test_does_not_redirect_to_another_host(self):
        answer = self.log_in(next="https://evil.example/")
        self.assertRedirects(answer, reverse("console:overview"))

    def test_says_the_same_for_a_wrong_password_and_a_user_who_is_no_staff(self):
        wrong = self.log_in(password="wrong")
        self.oscar.is_staff = False
        self.oscar.save()
        no_staff = self.log_in()
        messages = [
            page.context["form"].non_field_errors() for page in (wrong, no_staff)
        ]
        self.assertEqual(*messages)

    def test_is_not_recorded_without_a_password(self):
        with self.assertNoLogs("wallets.views.login", "INFO"):
            answer = self.log_in(password="")
        self.assertEqual(answer.status_code, 200)

    def test_ends_with_the_logout(self):
        self.log_in()
        self.client.post(reverse("console:logout"))
        self.assertEqual(self.client.get("/console/").status_code, 302)


class FormTest(ConsoleTestCase):
    def post(self, path):
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(self.oscar)
        return strict.post(path)

    def test_that_is_too_old_is_refused_with_a_page(self):
        withdrawal = self.due_withdrawal(5)
        answer = self.post(reverse("console:cancel", args=[withdrawal.pk]))
        self.assertContains(answer, "Nothing was done", status_code=403)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "PENDING")

    def test_outside_the_console_is_refused_with_a_problem(self):
        answer = self.post("/admin/login/")
        self.assertEqual(answer.status_code, 403)
        self.assertEqual(answer.json()["code"], "forbidden")


class OutageTest(CommittingTestCase):
    def test_is_shown_by_a_page(self):
        oscar = staff("oscar", "change_transaction")
        self.client.force_login(oscar)
        with database_out_of_reach():
            answer = self.client.get("/console/")
        self.assertContains(answer, "The database does not answer", status_code=503)
        self.assertIn("no-store", answer.headers["Cache-Control"])


class EscapeTest(ConsoleTestCase):
    def test_shows_the_banks_words_as_text(self):
        self.deposit(100)
        evil = "<script>alert(1)</script>"
        withdrawal = self.execute(10, Does.REFUSE)
        withdrawal.attempts.update(answer=evil)
        page = self.client.get(reverse("console:withdrawal", args=[withdrawal.pk]))
        self.assertNotContains(page, evil)
        self.assertContains(page, "&lt;script&gt;alert(1)")


@override_settings(DEBUG=False)
class InputTest(ConsoleTestCase):
    def test_survives_the_ends_of_time(self):
        for query in ("since=0001-01-01T00:00", "until=9999-12-31T23:59"):
            with self.subTest(query=query):
                answer = self.client.get(f"{reverse('console:withdrawals')}?{query}")
                self.assertContains(answer, "No withdrawal fits")

    def test_that_is_no_filter_is_named(self):
        queries = (
            "status=nonsense",
            "id=0",
            "id=99999999999999999999",
            "wallet=x",
            "since=yesterday&until=9999-99-99T00:00",
            "after=x",
            "after=1e400_1",
            "after=-99999999999999_1",
            "after=nan_1",
            "after=1_99999999999999999999999",
            "status=PENDING&status=FAILED&after=%F0%9F%92%B0",
        )
        for query in queries:
            with self.subTest(query=query):
                answer = self.client.get(f"{reverse('console:withdrawals')}?{query}")
                self.assertContains(answer, 'role="alert"')
                self.assertNotContains(answer, "o withdrawal")

    def test_survives_any_page_number(self):
        for name in ("alarms", "wallet"):
            args = [self.alice.uuid] if name == "wallet" else []
            for before in ("x", "-1", "0", "9" * 30, "²"):
                with self.subTest(name=name, before=before):
                    path = reverse(f"console:{name}", args=args)
                    answer = self.client.get(f"{path}?before={before}")
                    self.assertEqual(answer.status_code, 200)

"""What browsers and guessers are told."""

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpResponse
from django.test import RequestFactory, TestCase

from wallets.tests.base import quick_passwords
from wallets.utils import login_limit
from wallets.views import security


class HeadersTest(TestCase):
    def test_are_on_every_answer(self):
        for path in (
            "/healthz",
            "/admin/login/",
            "/nowhere",
            "/static/admin/css/base.css",
        ):
            with self.subTest(path=path):
                headers = self.client.get(path).headers
                self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
                self.assertEqual(headers["Cross-Origin-Resource-Policy"], "same-origin")
                self.assertIn("camera=()", headers["Permissions-Policy"])
                if not path.startswith("/static"):
                    self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
                    self.assertEqual(headers["Referrer-Policy"], "same-origin")
                    self.assertEqual(headers["X-Frame-Options"], "DENY")
                    self.assertEqual(
                        headers["Cross-Origin-Opener-Policy"], "same-origin"
                    )

    def test_let_pages_run_only_what_is_ours(self):
        for path, policy in (
            ("/admin/login/", security.PAGE),
            ("/healthz", security.NOTHING),
        ):
            headers = self.client.get(path).headers
            self.assertEqual(headers["Content-Security-Policy"], policy)
        self.assertNotIn("unsafe", security.PAGE)

    def test_leave_a_view_its_own(self):
        own = security.security_headers(
            lambda _request: HttpResponse(headers={"Content-Security-Policy": "mine"})
        )
        answer = own(RequestFactory().get("/"))
        self.assertEqual(answer.headers["Content-Security-Policy"], "mine")


@quick_passwords
class LoginLimitTest(TestCase):
    def setUp(self):
        cache.clear()
        User.objects.create_user("oscar", password="right")

    def log_in(self, password, username="oscar", address="10.0.0.1"):
        request = RequestFactory().post("/", REMOTE_ADDR=address)
        return authenticate(request, username=username, password=password)

    def fail(self, times):
        for _ in range(times):
            self.assertIsNone(self.log_in("wrong"))

    def test_makes_a_guesser_wait_even_with_the_right_password(self):
        self.fail(login_limit.ALLOWED_FAILURES)
        self.assertIsNone(self.log_in("right"))

    def test_lets_others_in_meanwhile(self):
        self.fail(login_limit.ALLOWED_FAILURES)
        self.assertIsNotNone(self.log_in("right", address="10.0.0.2"))

    def test_forgets_wrong_passwords_after_the_right_one(self):
        for _ in range(2):
            self.fail(login_limit.ALLOWED_FAILURES - 1)
            self.assertIsNotNone(self.log_in("right"))

    def test_takes_any_text_for_a_name(self):
        for name in (None, "", "\ud800", "x" * 10_000):
            with self.subTest(name=repr(name)[:20]):
                self.assertFalse(login_limit.is_locked(None, name))

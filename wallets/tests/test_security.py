"""Security headers, and the limits of logins."""

import os
from unittest import mock

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client, RequestFactory, TestCase, override_settings

from wallets.tests import marks
from wallets.tests.base import quick_passwords
from wallets.utils import login_limit
from wallets.views.http import security


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

    def test_let_pages_run_only_our_scripts(self):
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
    """The limit of log-ins, tested with the admin; the console has its own tests."""

    def setUp(self):
        cache.clear()
        self.oscar = User.objects.create_superuser("oscar", password="right")

    def log_in(self, password, username="oscar", client=None, **options):
        client = client or Client()
        return client.post(
            "/admin/login/", {"username": username, "password": password}, **options
        )

    def is_in(self, answer):
        return answer.status_code == 302

    def fail(self, times, client=None, **options):
        for _ in range(times):
            answer = self.log_in("wrong", client=client, **options)
            self.assertContains(answer, "a name waits for 5 minutes")

    def test_makes_a_guesser_wait_even_with_the_right_password(self):
        self.fail(settings.AXES_FAILURE_LIMIT)
        self.assertFalse(self.is_in(self.log_in("right")))

    def test_makes_a_guesser_wait_who_has_many_addresses(self):
        for n in range(settings.AXES_FAILURE_LIMIT):
            self.fail(1, REMOTE_ADDR=f"10.0.0.{n}", HTTP_USER_AGENT=f"browser {n}")
        self.assertFalse(self.is_in(self.log_in("right", REMOTE_ADDR="10.0.1.1")))

    def test_does_not_lock_out_a_known_browser(self):
        home = Client()
        self.assertTrue(self.is_in(self.log_in("right", client=home)))
        home.get("/admin/")
        del home.cookies["sessionid"]
        self.fail(3 * settings.AXES_FAILURE_LIMIT)
        self.assertTrue(self.is_in(self.log_in("right", client=home)))

    def test_makes_a_known_browser_wait_too_when_it_guesses(self):
        home = Client()
        self.log_in("right", client=home)
        del home.cookies["sessionid"]
        self.fail(2 * settings.AXES_FAILURE_LIMIT, client=home)
        self.assertFalse(self.is_in(self.log_in("right", client=home)))

    def test_knows_a_browser_for_one_name_only(self):
        home = Client()
        self.log_in("right", client=home)
        del home.cookies["sessionid"]
        User.objects.create_superuser("olga", password="right")
        self.fail(settings.AXES_FAILURE_LIMIT, username="olga")
        self.assertFalse(self.is_in(self.log_in("right", "olga", client=home)))

    def test_knows_a_browser_whatever_letters_the_name_has(self):
        for name in ("Ольга", "ولی", "o;l,g a=", "Zoë"):
            with self.subTest(name):
                User.objects.create_superuser(name, password="right")
                home = Client()
                answer = self.log_in("right", name, client=home)
                self.assertTrue(self.is_in(answer))
                # Servers write headers in Latin-1.
                cookie = answer.cookies[login_limit.COOKIE].OutputString()
                self.assertTrue(cookie.isascii())
                self.assertNotIn(name, cookie)
                del home.cookies["sessionid"]
                self.fail(settings.AXES_FAILURE_LIMIT, username=name)
                self.assertFalse(self.is_in(self.log_in("right", name)))
                self.assertTrue(self.is_in(self.log_in("right", name, client=home)))

    def test_does_not_know_a_browser_with_the_cookie_of_an_earlier_release(self):
        """It had the name itself; at the next login it gets another one."""
        response = HttpResponse()
        with mock.patch.object(login_limit, "_mark_of", lambda name: name):
            login_limit.remember_device(response, "oscar")
        home = Client()
        home.cookies = response.cookies
        self.fail(settings.AXES_FAILURE_LIMIT)
        self.assertFalse(self.is_in(self.log_in("right", client=home)))
        cache.clear()
        AccessAttempt.objects.all().delete()
        self.assertTrue(self.is_in(self.log_in("right", client=home)))
        del home.cookies["sessionid"]
        self.fail(settings.AXES_FAILURE_LIMIT)
        self.assertTrue(self.is_in(self.log_in("right", client=home)))

    def test_refuses_a_cookie_that_it_did_not_sign(self):
        forger = Client()
        forger.cookies[login_limit.COOKIE] = "oscar:1:signature"
        self.fail(settings.AXES_FAILURE_LIMIT)
        self.assertFalse(self.is_in(self.log_in("right", client=forger)))

    def test_forgets_wrong_passwords_after_the_right_one(self):
        for _ in range(2):
            self.fail(settings.AXES_FAILURE_LIMIT - 1)
            self.assertTrue(self.is_in(self.log_in("right")))

    def test_hashes_one_password_at_a_time(self):
        with login_limit.turn() as first:
            with override_settings(LOGIN_TURN_SECONDS=0):
                answer = self.log_in("right")
            self.assertTrue(first)
        self.assertContains(answer, "Too many logins at this moment")
        self.assertTrue(self.is_in(self.log_in("right")))

    def test_hashes_one_at_a_time_in_all_processes(self):
        """While one process hashes, a log-in in another one waits or is refused."""
        # All processes of the machine share the turn, also other runs of the tests.
        with (
            login_limit.turn() as first,
            override_settings(LOGIN_TURN_SECONDS=0),
        ):
            pid = os.fork()
            if pid == 0:
                with login_limit.turn() as second:
                    os._exit(int(second))
            _, status = os.waitpid(pid, 0)
        self.assertEqual((first, status), (True, 0))

    def test_does_not_delay_a_known_browser(self):
        home = Client()
        self.log_in("right", client=home)
        del home.cookies["sessionid"]
        with login_limit.turn() as guessers:
            self.assertTrue(guessers)
            self.assertTrue(self.is_in(self.log_in("right", client=home)))

    def test_refuses_at_once_when_too_many_wait(self):
        with login_limit.turn():
            login_limit._waiting[False].acquire()
            try:
                with mock.patch.object(login_limit, "_locks") as locks:
                    self.assertContains(self.log_in("right"), "Too many logins")
                locks.assert_not_called()
            finally:
                login_limit._waiting[False].release()

    def test_logs_user_and_address_and_no_name_that_was_tried(self):
        with self.assertLogs("wallets.views.login", "INFO") as logs:
            self.log_in("wrong", REMOTE_ADDR="10.0.0.9")
            self.log_in("my password", username="my password")
            self.log_in("right")
        told = [(r.getMessage(), r.user_id, r.address) for r in logs.records]
        self.assertEqual(
            told,
            [
                ("login failed", self.oscar.pk, "10.0.0.9"),
                ("login failed", None, "127.0.0.1"),
                ("login", self.oscar.pk, "127.0.0.1"),
            ],
        )

    def test_records_no_login_of_who_sends_no_password_and_hashes_nothing(self):
        """Django's form runs `clean` without it, authenticates nobody, and goes on."""
        for data in ({"username": "oscar", "password": ""}, {"password": "x"}):
            with (
                self.subTest(data=data),
                self.assertNoLogs("wallets.views.login", "INFO"),
                mock.patch.object(login_limit, "turn") as turn,
            ):
                answer = self.client.post("/admin/login/", data)
                self.assertEqual(answer.status_code, 200)
                self.assertNotIn(login_limit.COOKIE, answer.cookies)
                turn.assert_not_called()

    def test_records_from_where_whom_it_did_not_let_try(self):
        """Without a count: who could not try has not guessed."""
        self.fail(settings.AXES_FAILURE_LIMIT - 1)
        with self.assertLogs("wallets.views.login", "WARNING") as logs:
            with login_limit.turn(), override_settings(LOGIN_TURN_SECONDS=0):
                answer = self.log_in("right", REMOTE_ADDR="10.0.0.9")
                self.assertContains(answer, "Too many logins")
            # `CharField` of `AuthenticationForm` takes up to 254 characters.
            self.log_in("wrong", username="o" * 200, REMOTE_ADDR="10.0.0.8")
        told = [(r.getMessage(), r.user_id, r.address) for r in logs.records]
        self.assertEqual(
            told,
            [
                ("login failed", self.oscar.pk, "10.0.0.9"),
                ("login failed", None, "10.0.0.8"),
            ],
        )
        self.assertTrue(self.is_in(self.log_in("right")))

    def test_trusts_only_the_configured_number_of_proxies(self):
        for count, expected in ((0, "10.0.0.1"), (1, "3.3.3.3"), (2, "2.2.2.2")):
            request = RequestFactory().get(
                "/",
                REMOTE_ADDR="10.0.0.1",
                HTTP_X_FORWARDED_FOR="1.1.1.1, 2.2.2.2,3.3.3.3",
            )
            with override_settings(PROXY_COUNT=count):
                self.assertEqual(login_limit.address_of(request), expected)

    @marks.slow
    @override_settings(PROXY_COUNT=1)
    def test_believes_no_forwarder_who_names_no_address(self):
        """PostgreSQL refuses other text for an address, and MariaDB a longer one."""
        for n, (sent, expected) in enumerate(
            (
                ("abc", "10.0.0.1"),
                ("", "10.0.0.1"),
                (" , ", "10.0.0.1"),
                ("1.2.3.4\0", "10.0.0.1"),
                ("1" * 5000, "10.0.0.1"),
                ("fe80::1%" + "a" * 40, "fe80::1"),
                ("1.2.3.4:80:90", "10.0.0.1"),
                ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
                ("1.2.3.4:5678", "1.2.3.4"),
                ("2001:DB8::1", "2001:db8::1"),
                ("[2001:db8::1]", "2001:db8::1"),
                ("[2001:db8::1]:443", "2001:db8::1"),
            )
        ):
            with self.subTest(sent):
                where = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": sent}
                request = RequestFactory().get("/", **where)
                self.assertEqual(login_limit.address_of(request), expected)
                answer = self.log_in("wrong", username=f"nobody{n}", **where)
                self.assertEqual(answer.status_code, 200)
                kept = AccessAttempt.objects.get(username=f"nobody{n}")
                self.assertEqual(kept.ip_address, expected)

    def test_takes_a_login_from_a_socket_that_has_no_address(self):
        self.log_in("wrong", username="nobody", REMOTE_ADDR="unix:")
        self.assertIsNone(AccessAttempt.objects.get(username="nobody").ip_address)

"""No input to the console or the admin gets a 5xx, with or without a login."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from console.tests.base import ConsoleTestCase
from wallets.models.attempt import Attempt
from wallets.tests import marks
from wallets.tests.fakes import Does

# The texts that are sent in paths, queries, forms and cookies. Databases differ in these:
TEXTS: tuple[str, ...] = (
    "9" * 19,
    "a\0b",
    "\ud800",
    "é\u202e",
    "%",
    "'",
    "x" * 5000,
    "11111111-1111-8111-0111-111111111111",
)
if connection.vendor == "sqlite":
    TEXTS += (
        "",
        "0",
        "-1",
        "1",
        "9" * 400,
        "1e3",
        "\0",
        "_",
        "../..",
        "None",
        "2026-13-45",
        "1999-01-01,2000-01-01",
    )
# The parameters of Django's pages of one row, then those of our pages, then of its lists.
PARAMETERS = (
    *("q", "p", "o", "e", "all", "_popup", "_to_field", "_changelist_filters"),
    *("before", "status", "next", "id", "pk", "id__in", "id__gt", "nonsense"),
    *("needs_review__exact", "status__exact", "created_at__gte", "kind__exact"),
    *("acknowledged_at__isempty", "open__exact", "wallet__uuid", "app_label"),
    *("model_name", "field_name", "term", "amount__gte", "transaction__id"),
)
# Django looks for no session whose key is shorter than eight characters.
COOKIES = ("\0", "a\0b" * 10, "x" * 4000, "é", "'", "\\000", "None")


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    """Return every route below these patterns, in Django's notation."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def pages() -> list[str]:
    """Return every route of the console and the admin."""
    found = routes(get_resolver().url_patterns)
    return [route for route in found if route.startswith(("console/", "admin/"))]


@marks.slow
@marks.timeout(600)
class HostileTest(ConsoleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.failures: list[str] = []
        self.deposit(1000)
        self.withdrawal = self.execute(10, Does.LOSE)
        self.root = User.objects.create_superuser("root")

    def clients(self) -> Iterator[tuple[str, Client, str]]:
        """Yield each user with a client and the prefix of the pages to request.

        A request that is refused for lack of permission does not depend on the
        database. So SQLite tests every user on every page; the other engines test only
        the pages that a user may see.
        """
        everywhere = connection.vendor == "sqlite"
        for name, user, reached in (
            ("nobody", None, None),
            ("olga", self.olga, "console/"),
            ("root", self.root, ""),
        ):
            client = Client(raise_request_exception=False)
            if user is not None:
                client.force_login(user)
            if everywhere or reached is not None:
                yield name, client, "" if everywhere else str(reached)

    def paths(self, text: str, begin: str = "") -> Iterator[str]:
        """Yield each path with this prefix, with the text in its variable part."""
        known = {"id": self.withdrawal.pk, "uuid": self.alice.uuid}
        for route in pages():
            if "logout" in route or not route.startswith(begin):
                continue  # after a logout the user would have no login
            path = ""
            for piece in route.replace("$", "").replace("^", "").split("<"):
                name, closing, rest = piece.partition(">")
                kind = name.partition(":")[0]
                if not closing:
                    path += piece
                elif text or kind in ("path", "str"):
                    path += encoded(text) + rest
                else:
                    path += str(known.get(kind, "paid")) + rest
            yield "/" + path

    def assert_no_failure(self, answer, *what: object) -> None:
        if answer.status_code >= 500:
            self.failures.append(" ".join(map(repr, what))[:200])

    def tearDown(self) -> None:
        self.assertEqual(self.failures, [])
        super().tearDown()

    def test_a_text_in_a_path_is_no_failure(self):
        for name, client, begin in self.clients():
            # Most routes have no variable part: each is requested once.
            for path in {path for text in TEXTS for path in self.paths(text, begin)}:
                self.assert_no_failure(client.get(path), name, path)

    def test_a_query_is_no_failure(self):
        """It has every parameter of Django's list pages and of our own pages."""
        # NUL is refused before a page is called, whatever the database.
        texts = ("9" * 19, "\0") if connection.vendor == "sqlite" else ("9" * 19,)
        client = Client(raise_request_exception=False)
        client.force_login(self.root)
        for path in self.paths(""):
            if path.endswith(("add/", "delete/", "history/")):
                continue  # these pages read no query
            known = PARAMETERS  # Django's lists read these
            if "//" in path:  # Django's pages of one row read this
                known = PARAMETERS[:8]
            elif path.startswith("/console/"):
                known = PARAMETERS[:16]
            for parameter in known:
                for text in texts:
                    query = f"?{parameter}={encoded(text)}"
                    self.assert_no_failure(client.get(path + query), path, query)

    def test_a_form_is_no_failure(self):
        fields = (
            "username",
            "password",
            "evidence",
            "action",
            "index",
            "_selected_action",
        )
        for _name, client, begin in self.clients():
            for path in self.paths("", begin):
                for text in ("\0", "\ud800", "x" * 5000):
                    form = {
                        field: text.replace("\ud800", "\\ud800") for field in fields
                    }
                    self.assert_no_failure(client.post(path, form), path, text)

    def test_a_cookie_is_no_failure(self):
        for cookie in ("sessionid", "csrftoken", "messages"):
            for text in COOKIES:
                client = Client(raise_request_exception=False)
                value = text.replace("\0", "\\000") if "\0" in text else text
                client.cookies[cookie] = "x"
                header = f'{cookie}="{value}"'
                for path in ("/console/", "/console/login", "/admin/", "/admin/login/"):
                    answer = client.get(path, HTTP_COOKIE=header)
                    self.assert_no_failure(answer, path, header)

    def test_a_user_with_the_longest_name_presses_every_button(self):
        long = User.objects.create_superuser("o" * 150)
        self.client.force_login(long)
        waiting = self.withdrawal_in_review(5)
        due = self.due_withdrawal(5)
        for path in (
            f"/console/withdrawals/{due.pk}/cancel",
            f"/console/withdrawals/{waiting.pk}/resolve/paid",
        ):
            answer = self.client.post(path, {"evidence": "statement 8"})
            self.assertEqual(answer.status_code, 302, path)
        self.assertEqual(Attempt.objects.filter(outcome="accepted").count(), 1)

    def test_a_long_body_is_refused_before_it_is_read(self):
        client = Client(raise_request_exception=False)
        for path in ("/console/login", "/admin/login/", "/nowhere"):
            answer = client.generic(
                "POST",
                path,
                b"x",
                "multipart/form-data; boundary=a",
                CONTENT_LENGTH=str(10**9),
            )
            self.assertEqual(answer.status_code, 413, path)

    def test_the_registered_models_are_those_that_are_asked_for(self):
        self.assertIn("admin/wallets/wallet/", pages())

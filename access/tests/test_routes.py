"""No path of the service is open by mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.test import Client, RequestFactory, override_settings
from django.urls import URLPattern, URLResolver, get_resolver

from access.tests.access import Keys, bearer
from access.utils.scopes import SCOPES
from wallets.asgi.routes import ROUTES_BY_METHOD
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase
from wallets.urls import ROUTES
from wallets.views.http.operation import Operation
from wallets.views.http.rest_framework import OperationView
from wallets.views.metrics import metrics

# Everybody may ask these: docs/access.md says why. The console and the admin have a
# login of their own, so they answer with it.
OPEN = {
    *("/", "/healthz", "/readyz"),
    *("/problems/", "/problems/x", "/api/schema/", "/api/docs/"),
}
LOGIN = ("/console/", "/admin/")
# They lead there, and have no other answer.
TO_LOGIN = {"/console", "/admin"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# A value for each parameter of a path.
VALUES = {
    "uuid": "00000000-0000-4000-8000-000000000000",
    "transaction_id": "1",
    "correctable_id": "1",
    "slug": "x",
}
CLOSED_AT_LEAST = 25


def routes(
    patterns: list[URLPattern | URLResolver], before: str = "/"
) -> Iterator[str]:
    """Yield an address of every pattern of the resolver, below `before`."""
    for one in patterns:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, path)
        else:
            yield re.sub(r"<(?:(\w+):)?\w+>", lambda m: VALUES.get(m[1], "x"), path)


def paths() -> list[str]:
    return sorted({path for path in routes(get_resolver().url_patterns)})


def operations() -> Iterator[Operation]:
    for route in ROUTES:
        if issubclass(route.view, OperationView):
            yield from route.view.operations


class RouteTest(Keys, WalletTestCase):
    client_class = Client

    def ours(self) -> list[str]:
        known = set(paths()) - TO_LOGIN
        return [path for path in known if not path.startswith(LOGIN)]

    def test_is_closed_to_whoever_has_no_key(self) -> None:
        closed = 0
        for path in self.ours():
            for method in METHODS:
                for key in ({}, {"authorization": "Bearer x"}):
                    answer = self.client.generic(method, path, headers=key)
                    with self.subTest(method=method, path=path, **key):
                        if path in OPEN:
                            self.assertNotIn(answer.status_code, (401, 403))
                        else:
                            self.assertEqual(answer.status_code, 401)
                            self.assertIn("WWW-Authenticate", answer.headers)
            closed += path not in OPEN
        self.assertGreater(closed, CLOSED_AT_LEAST)

    def test_tells_nothing_else_before_the_key(self) -> None:
        """Neither what is wrong with a query, a body or a cookie, nor its limits."""
        long = {"data": b"x" * 70_000, "content_type": "application/json"}
        for path in set(self.ours()) - OPEN - {"/metrics"}:
            for query, sent in (
                ("?x=%00", {}),
                ("", long),
                ("", {"headers": {"cookie": "csrftoken=x; sessionid=y"}}),
            ):
                for method in METHODS:
                    answer = self.client.generic(method, path + query, **sent)
                    with self.subTest(method=method, path=path, query=query, **sent):
                        self.assertEqual(answer.status_code, 401)
                        self.assertEqual(answer.cookies, {})

    def test_of_the_list_exists(self) -> None:
        self.assertEqual(OPEN - set(self.ours()), set())
        self.assertEqual(TO_LOGIN - set(paths()), set())

    def test_of_the_console_asks_for_its_own_login(self) -> None:
        for path in paths():
            if path.startswith(LOGIN):
                answer = self.client.get(path)
                with self.subTest(path):
                    self.assertIn(answer.status_code, (200, 302, 404, 405))
                    if answer.status_code == 200:
                        self.assertIn(b'name="password"', answer.content)

    def test_that_leads_to_a_login_does_nothing_else(self) -> None:
        for path in TO_LOGIN:
            for method in METHODS:
                answer = self.client.generic(method, path)
                with self.subTest(method=method, path=path):
                    if method in ("GET", "HEAD"):
                        self.assertEqual(answer.headers["Location"], f"{path}/")
                    else:
                        self.assertEqual(answer.status_code, 405)
                    self.assertEqual(answer.cookies, {})

    def test_is_closed_to_a_key_without_its_scope(self) -> None:
        nothing = bearer(self.key("nothing", "metrics:read"))
        for method, found in ROUTES_BY_METHOD.items():
            for route in found:
                (path,) = routes([_Pattern(route.name)])
                answer = self.client.generic(
                    method, path, headers={"authorization": nothing}
                )
                with self.subTest(method=method, path=path):
                    wanted = 403 if path not in OPEN else 200
                    self.assertEqual(answer.status_code, wanted)

    def test_of_asgi_is_one_of_these(self) -> None:
        known = set(self.ours())
        for found in ROUTES_BY_METHOD.values():
            for route in found:
                (path,) = routes([_Pattern(route.name)])
                self.assertIn(path, known)


class _Pattern(URLPattern):
    """A path without a view."""

    def __init__(self, path: str) -> None:
        self.pattern = path


class AsgiRouteTest(RouteTest):
    client_class = AsgiClient


class CapabilityTest(WalletTestCase):
    def test_makes_a_scope_that_is_known_and_each_scope_is_of_an_operation(
        self,
    ) -> None:
        needed = {one.scope for one in operations()} - {None}
        # The figures are no operation: the view asks for its scope itself.
        self.assertEqual(needed | {"metrics:read"}, set(SCOPES))

    def test_is_described(self) -> None:
        text = (Path(settings.BASE_DIR) / "docs/access.md").read_text(encoding="utf-8")
        named = re.findall(r"`([a-z_]+:(?:read|write))`", text)
        self.assertEqual(set(named), set(SCOPES))
        for path in OPEN - {"/problems/x"}:
            self.assertIn(f"`{path}`", text)

    def test_has_no_default(self) -> None:
        class Forgotten(Operation):
            def read(self, request, query): ...

            def wallets_of(self, call): ...

            def many(self, calls, *, caller, wait): ...

            def write(self, request, call, result): ...

        with self.assertRaisesRegex(TypeError, "Forgotten has no capability"):

            class View(OperationView):
                operations = (Forgotten(),)


class MetricsTest(Keys, WalletTestCase):
    """/metrics: by its own token, or else by a key."""

    def figures(self, header: str | None = None) -> int:
        named = {} if header is None else {"authorization": header}
        answer = metrics(RequestFactory().get("/metrics", headers=named))
        if answer.status_code in (401, 403):
            self.challenge = answer.headers["WWW-Authenticate"]
        return answer.status_code

    def test_are_for_keys_with_their_scope(self) -> None:
        made, other = self.key("a", "metrics:read"), self.key("b", "wallets:read")
        self.assertEqual(self.figures(), 401)
        self.assertEqual(self.figures("Bearer x"), 401)
        self.assertEqual(self.figures(bearer(other)), 403)
        self.assertEqual(self.figures(bearer(made)), 200)

    def test_are_not_for_keys_of_one_tenant(self) -> None:
        for scope in ("metrics:read", "*"):
            limited = self.key(f"a-{len(scope)}", scope, tenant="shop")
            self.assertEqual(self.figures(bearer(limited)), 403, scope)
            # No scope would help (RFC 6750, 3.1: it may be left out).
            self.assertEqual(
                self.challenge, 'Bearer realm="wallet", error="insufficient_scope"'
            )

    @override_settings(METRICS_TOKEN="a token of the scraper")
    def test_are_for_their_own_token_if_there_is_one(self) -> None:
        made = self.key("a", "metrics:read")
        self.assertEqual(self.figures(bearer(made)), 401)
        with mock.patch("wallets.views.metrics.generate_latest", return_value=b""):
            self.assertEqual(self.figures("Bearer a token of the scraper"), 200)

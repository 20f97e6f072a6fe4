"""Callers with a tenant in tests, and a walk over the routes of the API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.test import SimpleTestCase, override_settings

from wallets.asgi.routes import ROUTES_BY_METHOD, Route
from wallets.tests.api import Answer
from wallets.utils.caller import Caller
from wallets.views.schema.document import document

A, B = "acme", "Acme"  # equal only without regard to case


def by_header(scope: str, request: Any) -> Caller:
    """Return the caller that the request names: a value for API_AUTHENTICATION."""
    tenant = request.headers.get("x-test-tenant", "")
    return Caller(request.headers.get("x-test-actor", "client"), tenant)


def use_callers_by_header(test: SimpleTestCase) -> None:
    """Let requests name their caller, until the test ends."""
    document()  # made once in a process: as it is where nobody is asked
    callers = override_settings(API_AUTHENTICATION=f"{__name__}.by_header")
    callers.enable()
    test.addCleanup(callers.disable)


class Walk:
    """Asks every route of an application for what belongs to another tenant.

    A mixin for an API test whose requests may name a tenant. A route that is in none of
    the tables is a failure, so a new one must be put into one of them.
    """

    application: ClassVar[str]
    # Lists, whose answer is empty; routes that concern no wallet.
    lists: ClassVar[set[tuple[str, str]]] = set()
    others: ClassVar[set[tuple[str, str]]] = set()

    def bodies(self, names: Mapping[str, Any]) -> Mapping[tuple[str, str], Any]:
        """Return the body of each request that has one, about what has these names."""
        raise NotImplementedError

    def routes(self) -> Iterator[tuple[str, Route]]:
        for method, routes in ROUTES_BY_METHOD.items():
            for route in routes:
                if type(route.operation).__module__.startswith(self.application):
                    yield method, route

    def ask(
        self, method: str, route: Route, names: Mapping[str, Any], tenant: str
    ) -> Answer:
        """Make the route's request as a caller of the tenant, about these names."""
        path = re.sub("<[a-z_]+:([a-z_]+)>", lambda m: str(names[m[1]]), route.name)
        key = method, route.name.rstrip("/")
        body = self.bodies(names).get(key, b"")
        return self.call(method, f"/{path}", body, X_Test_Tenant=tenant)  # type: ignore[attr-defined]

    def assert_hides(
        self, mine: Mapping[str, Any], nothing: Mapping[str, Any], *, statuses: set[int]
    ) -> None:
        """Check that A's things are to B as `nothing`, which does not exist."""
        for method, route in self.routes():
            key = method, route.name.rstrip("/")
            if key in self.others:
                continue
            with self.subTest(key):  # type: ignore[attr-defined]
                hidden = self.ask(method, route, mine, B)
                if key in self.lists:
                    assert (hidden.status_code, hidden.json()) == (200, [])
                    continue
                for tenant in (B, ""):
                    unknown = self.ask(method, route, nothing, tenant)
                    assert hidden.content == unknown.content, (hidden, unknown)
                    assert hidden.status_code == unknown.status_code
                assert hidden.status_code in statuses, hidden.content

    def assert_shows(self, mine: Mapping[str, Any]) -> None:
        """Check that A and an unlimited caller are not refused so."""
        for tenant in (A, ""):
            for method, route in self.routes():
                with self.subTest((tenant, method, route.name)):  # type: ignore[attr-defined]
                    shown = self.ask(method, route, mine, tenant)
                    assert shown.status_code != 404, shown.content
                    assert b"not_found" not in shown.content, shown.content
                    if (method, route.name.rstrip("/")) in self.lists:
                        assert shown.json(), "the list is empty"

"""A resource with several operations, and what extensions add to the API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.test import RequestFactory, SimpleTestCase, override_settings

from wallets.asgi.routes import allowed_methods
from wallets.utils import extensions
from wallets.utils.caller import Caller
from wallets.views.http.operation import Operation
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

PROBLEMS = ("one", "another")


class Say(Operation[str, str]):
    """Answers with a word."""

    needs_database = False
    capability = "wallets"

    def __init__(self, method: str, parameter: str) -> None:
        self.method = method  # type: ignore[misc]
        self.known_parameters = {parameter: str}  # type: ignore[misc]

    def read(self, request: Request, query: Mapping[str, Any]) -> str:
        return " ".join((self.method, *query.values()))

    def wallets_of(self, call: str) -> Collection[UUID]:
        return ()

    def many(
        self, calls: Sequence[str], *, caller: Caller, wait: bool
    ) -> Sequence[str]:
        return calls

    def write(self, request: Request, call: str, result: str) -> ApiResponse:
        return json_response(result)


class ResourceView(OperationView):
    operations = (Say("GET", "a"), Say("PATCH", "b"), Say("DELETE", "c"))


class ResourceTest(SimpleTestCase):
    def answer(self, method: str, path: str = "/") -> Any:
        request = RequestFactory().generic(method, path)
        return ResourceView.as_view()(request)

    def test_serves_each_of_its_methods_by_its_own_operation(self) -> None:
        for method in ("GET", "PATCH", "DELETE"):
            self.assertEqual(self.answer(method).data, method)

    def test_knows_the_parameters_of_the_method_only(self) -> None:
        self.assertEqual(self.answer("PATCH", "/?b=x").data, "PATCH x")
        refused = self.answer("DELETE", "/?b=x")
        self.assertEqual(refused.status_code, 400)

    def test_names_the_same_methods_through_both_transports(self) -> None:
        for method in ("PATCH", "OPTIONS", "PUT"):
            allow = self.answer(method).headers["Allow"]
            self.assertEqual(allow, "GET, PATCH, DELETE, HEAD, OPTIONS")
            self.assertEqual(allow.encode(), allowed_methods(ResourceView))


class ExtensionTest(SimpleTestCase):
    def test_adds_what_its_modules_have(self) -> None:
        with override_settings(API_EXTENSIONS=["wallets.tests", "wallets.tests"]):
            found = [*extensions.of_each("test_operations", "PROBLEMS")]
        self.assertEqual(found, [PROBLEMS, PROBLEMS])

    @override_settings(API_EXTENSIONS=[])
    def test_adds_nothing_when_it_is_not_named(self) -> None:
        self.assertEqual([*extensions.of_each("urls", "ROUTES")], [])

    @override_settings(API_EXTENSIONS=["wallets.tests"])
    def test_that_lacks_a_module_is_an_error_at_the_start(self) -> None:
        with self.assertRaises(ModuleNotFoundError):
            [*extensions.of_each("no_such_module", "ROUTES")]

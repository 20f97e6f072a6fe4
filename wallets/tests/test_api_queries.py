"""The bytes of a query: every parameter of every endpoint is UTF-8, or refused by name."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from wallets.services.wallet import WalletService
from wallets.tests.api import Api, call_wsgi, keep_connection
from wallets.tests.base import WalletTestCase
from wallets.urls import ROUTES
from wallets.views.http.operation import Operation
from wallets.views.http.rest_framework import OperationView
from wallets.views.http.wsgi import Handler

# No UTF-8: a lone byte, an overlong slash and NUL, a surrogate as CESU-8 writes it, a
# pair of them, a character that ends too early, one beyond Unicode, Latin-1.
NO_UTF_8 = (
    *("%ff", "a%80", "%C0%AF", "%c0%80", "%ED%A0%80", "%ED%A0%BD%ED%B8%80"),
    *("%E2%82", "%F5%80%80%80", "caf%E9", "+%FE%FF"),
)
_PLACE = re.compile("<([a-z_]+):[a-z_]+>")


def operations() -> Iterator[tuple[str, Operation[Any, Any]]]:
    """Yield each operation with a path of it."""
    values = {"transaction_id": "1", "correctable_id": "1"}
    for route in ROUTES:
        if issubclass(route.view, OperationView):
            path = _PLACE.sub(
                lambda found: values.get(found[1], str(uuid.UUID(int=7))), route.path
            )
            for operation in route.view.operations:
                yield f"/{path}", operation


class QueryTest(Api, WalletTestCase):
    """A query…"""

    def test_that_is_no_utf_8_is_refused_by_the_name_of_its_parameter(self) -> None:
        asked = 0
        for path, operation in operations():
            for name in operation.known_parameters:
                for sent in NO_UTF_8:
                    with self.subTest(path=path, name=name, sent=sent):
                        answer = self.call(operation.method, f"{path}?{name}={sent}")
                        code = "parameter_invalid"
                        problem = self.assert_problem(answer, 400, code, name)
                        (error,) = problem["errors"]
                        self.assertIn("UTF-8", error["detail"])
                        asked += 1
        self.assertGreater(asked, 30 * len(NO_UTF_8))

    def test_names_a_parameter_that_is_no_utf_8_as_it_was_sent(self) -> None:
        paths = [path for path, one in operations() if one.method == "GET"]
        for path in {*paths, "/", "/problems/", "/problems/required", "/api/schema/"}:
            for sent, name in (("%ff=1", "%FF"), ("a%ED%A0%80", "a%ED%A0%80")):
                with self.subTest(path=path, sent=sent):
                    answer = self.get(f"{path}?{sent}")
                    self.assert_problem(answer, 400, "parameter_unknown", name)
        twice = self.get("/transactions/?limit=%ff&limit=1")
        self.assert_problem(twice, 400, "parameter_repeated", "limit")
        both = self.get("/transactions/?reference=%ff&%fe=&amount_from=x").json()
        named = [error["field"] for error in both["errors"]]
        self.assertEqual(named, ["reference", "%FE", "amount_from"])

    def test_finds_no_reference_that_it_does_not_name(self) -> None:
        """U+FFFD stood for what could not be read."""
        WalletService.create(reference="\ufffd")
        self.assert_problem(
            self.get("/wallets/?reference=%ff"), 400, "parameter_invalid", "reference"
        )
        (found,) = self.get("/wallets/?reference=%EF%BF%BD").json()
        self.assertEqual(found["reference"], "\ufffd")

    def test_is_read_as_forms_write_it(self) -> None:
        for reference, sent in (
            ("a b", ("a+b", "a%20b")),
            ("a+b", ("a%2Bb", "a%2bb")),
            ("é", ("é", "%C3%A9", "%c3%a9")),
            ("100%", ("100%", "100%25")),
            ("a=b", ("a=b", "a%3Db")),
            ("\U0001f600", ("%F0%9F%98%80",)),
        ):
            WalletService.create(reference=reference)
            for one in sent:
                with self.subTest(sent=one):
                    (found,) = self.get(f"/wallets/?&reference={one}&").json()
                    self.assertEqual(found["reference"], reference)

    def test_with_nul_is_refused(self) -> None:
        for path, operation in operations():
            for name in operation.known_parameters:
                with self.subTest(path=path, name=name):
                    answer = self.call(operation.method, f"{path}?{name}=a%00")
                    self.assertEqual(answer.status_code, 400, answer.content)
                    (error,) = answer.json()["errors"]
                    self.assertEqual(error["field"], name)

    def test_of_bytes_that_are_not_encoded_is_read_alike(self) -> None:
        keep_connection(self)
        for sent, status in (("reference=\xff", "400"), ("reference=\xc3\xa9", "200")):
            answer = call_wsgi(
                Handler(),
                "/wallets/",
                REQUEST_METHOD="GET",
                QUERY_STRING=sent,
                CONTENT_TYPE=None,
                CONTENT_LENGTH=None,
            )
            self.assertEqual(answer[0][:3], status, answer)

    def test_switch_of_another_framework_is_not_read(self) -> None:
        self.assertEqual(self.get("/wallets/?format=%ff").status_code, 200)


class PathBytesTest(Api, WalletTestCase):
    """A path that is no UTF-8…"""

    def test_is_not_found(self) -> None:
        base = f"/wallets/{self.alice.uuid}"
        for sent in NO_UTF_8:
            for path in (
                *(
                    f"/{sent}",
                    f"/wallets/{sent}",
                    f"/wallets/{sent}/",
                    f"{base}{sent}/",
                ),
                *(f"{base}/{sent}", f"{base}/deposit{sent}", f"/events/{sent}"),
                *(f"/webhooks/{sent}/", f"/problems/{sent}", f"/healthz{sent}"),
            ):
                for method in ("GET", "POST"):
                    with self.subTest(method=method, path=path):
                        answer = self.call(method, path, b"{}")
                        problem = self.assert_problem(answer, 404, "not_found")
                        self.assertEqual(
                            problem["detail"], "There is nothing at this path."
                        )

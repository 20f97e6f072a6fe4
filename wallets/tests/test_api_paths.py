"""The root, and the answer to a path that is almost right."""

from __future__ import annotations

import json
import uuid

from django.test import override_settings
from django.urls import set_script_prefix

from wallets.tests import marks
from wallets.tests.api import Api, call_wsgi, keep_connection, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.views.http.right_path import right_path
from wallets.views.http.wsgi import Handler


class IndexTest(Api, WalletTestCase):
    @marks.slow
    def test_links_to_every_part(self) -> None:
        response = self.get("/")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Content-Type"], "application/json")
        index = response.json()
        self.assertEqual(index["service"], "Wallet Service")
        self.assertEqual(index["links"]["wallets"], "/wallets/")
        for name in ("docs", "schema", "problems", "health", "readiness"):
            self.assertEqual(self.get(index["links"][name]).status_code, 200, name)
        console = self.get(index["links"]["console"])
        self.assertEqual((console.status_code, console.reason_phrase), (302, "Found"))

    def test_is_found_by_a_browser(self) -> None:
        response = self.get("/", Accept="text/html,application/xml;q=0.9,*/*;q=0.8")
        self.assertEqual(response.status_code, 200)

    @override_settings(ROOT_URLCONF="wallets.tests.urls_without_docs")
    def test_names_nothing_that_is_switched_off(self) -> None:
        links = self.get("/").json()["links"]
        self.assertEqual(links.keys() & {"docs", "schema", "console"}, set())
        self.assertEqual(links["wallets"], "/wallets/")

    def test_takes_no_parameter_and_no_other_method(self) -> None:
        self.assert_problem(self.get("/?a=1"), 400, "parameter_unknown", "a")
        response = self.post("/", {"amount": 1})
        self.assert_problem(response, 405, "method_not_allowed")
        self.assertEqual(response.headers["Allow"], "GET, HEAD, OPTIONS")


class RightPathTest(Api, WalletTestCase):
    """A path with a wrong form gets a 404 whose problem names the right path."""

    def test_is_named_by_the_problem(self) -> None:
        transaction = self.deposit(5).pk
        base = f"/wallets/{self.alice.uuid}"
        shouted = f"/wallets/{str(self.alice.uuid).upper()}"
        for method, sent, right in (
            ("POST", "/wallets", "/wallets/"),
            ("POST", "/deposits", "/deposits/"),
            ("GET", base, f"{base}/"),
            ("GET", f"{base}/transactions", f"{base}/transactions/"),
            (
                "GET",
                f"{base}/transactions/{transaction}",
                f"{base}/transactions/{transaction}/",
            ),
            ("GET", f"{base}/statement", f"{base}/statement/"),
            ("GET", f"{base}/balance", f"{base}/balance/"),
            ("GET", f"{shouted}/", f"{base}/"),
            ("GET", shouted, f"{base}/"),
            ("POST", f"{base}//deposit", f"{base}/deposit"),
            ("GET", f"/wallets/{self.alice.uuid.hex}/", f"{base}/"),
            ("GET", f"/wallets/urn:uuid:{self.alice.uuid}/", f"{base}/"),
            ("GET", "/Wallets", "/wallets/"),
            ("GET", "/healthz/", "/healthz"),
            ("GET", "/api/docs", "/api/docs/"),
        ):
            with self.subTest(method=method, sent=sent), nothing_written():
                response = self.call(method, sent, b'{"amount": 1}')
                problem = self.assert_problem(response, 404, "not_found")
                self.assertTrue(problem["detail"].endswith(f" {right}"), problem)
                right_one = self.call(method, right, b'{"amonut": 1}')
                self.assertNotEqual(right_one.status_code, 404)

    def test_of_a_post_has_its_effect_once_and_the_wrong_one_none(self) -> None:
        key = uuid.uuid4()
        wrong = f"/wallets/{str(self.alice.uuid).upper()}/deposit"
        problem = self.assert_problem(
            self.post(wrong, {"amount": 7}, key=key), 404, "not_found"
        )
        right = problem["detail"].split()[-1]
        deposit = self.post(right, {"amount": 7}, key=key)
        self.assertEqual(deposit.status_code, 200, deposit.content)
        self.assertNotIn("Idempotent-Replayed", deposit.headers)
        self.assert_money(self.alice, balance=7)

    def test_is_named_for_no_other_path(self) -> None:
        for path in (
            "/nowhere",
            "/wallets/abc",
            "/wallets/1/",
            f"/wallets/{self.alice.uuid}/withdrawals",
            "/console/nowhere/",
            "/Console/",
            "/admin",
            "/wallets/\0",
            "/%FF",
            "/../etc/passwd",
        ):
            with self.subTest(path=path):
                self.assertIsNone(right_path(path))
        problem = self.assert_problem(self.get("/nowhere"), 404, "not_found")
        self.assertEqual(problem["detail"], "There is nothing at this path.")

    def test_is_named_for_slashes_in_front(self) -> None:
        """Without Django's test client, which would read the rest as a host."""
        keep_connection(self)
        status, _, body = call_wsgi(Handler(), "//wallets/")
        problem = json.loads(body)
        self.assertEqual((status[:3], problem["code"]), ("404", "not_found"))
        self.assertTrue(problem["detail"].endswith(" /wallets/"), problem)

    def test_has_the_prefix_that_the_service_is_below(self) -> None:
        self.addCleanup(set_script_prefix, "/")
        set_script_prefix("/money/")
        self.assertEqual(right_path("/wallets"), "/money/wallets/")

"""Tracing and error reporting round the application change no answer."""

from __future__ import annotations

import http.client
import json
import os
import tempfile
import uuid
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest, skipUnless

from django.db import connection

from drills import services
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, database_environment

PATIENCE = 60
DIFFER = {"date", "x-request-id"}
JSON = {"Content-Type": "application/json"}
Answer = tuple[int, list[tuple[str, str]], bytes]


@marks.slow
@marks.timeout(180)
@skipUnless(connection.vendor == "sqlite", "no database changes what wraps the API")
class TracedTest(CommittingTestCase):
    """The server, with the application inside OpenTelemetry's and Sentry's middleware…"""

    def setUp(self) -> None:
        super().setUp()
        if not (find_spec("opentelemetry") and find_spec("sentry_sdk")):
            why = "opentelemetry and sentry_sdk are not installed"
            if os.environ.get("WALLET_REQUIRE_SERVERS") == "1":
                self.fail(why)
            raise SkipTest(why)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.plain = self.start("plain")
        self.traced = self.start("traced", "wallets.tests.traced:application")

    def start(self, name: str, application: str = services.APPLICATION) -> services.Api:
        folder = self.folder / name
        folder.mkdir()
        own = {"WEB_CONCURRENCY": "1", "TRACED_FOLDER": str(folder)}
        env = services.environment(database_environment() | own)
        api = services.Api(env, folder, application)
        self.addCleanup(api.end)
        api.start()
        return api

    def ask(
        self,
        api: services.Api,
        method: str,
        path: str,
        body: bytes | None = None,
        **fields: str,
    ) -> Answer:
        client = http.client.HTTPConnection("127.0.0.1", api.port, PATIENCE)
        self.addCleanup(client.close)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        # Some answers quote it.
        client.request(method, path, body, {"Host": "localhost"} | JSON | named)
        answer = client.getresponse()
        headers = [each for each in answer.getheaders() if each[0] not in DIFFER]
        return answer.status, headers, answer.read()

    def lines(self, name: str) -> list[str]:
        return (self.folder / "traced" / name).read_text().splitlines()

    def test_answers_with_the_same_bytes(self) -> None:
        self.deposit(500)
        alice = f"/wallets/{self.alice.uuid}"
        for method, path, body, accept in (
            ("GET", f"{alice}/", None, "*/*"),
            ("HEAD", f"{alice}/", None, "*/*"),
            ("OPTIONS", f"{alice}/deposit", None, "*/*"),
            ("GET", f"{alice}/statement/", None, "text/csv"),
            ("GET", f"{alice}/statement/", None, "*/*"),
            ("GET", f"{alice}/nothing", None, "*/*"),
            ("GET", "/problems/", None, "*/*"),
            ("POST", f"{alice}/deposit", b'{"amount": "x"}', "*/*"),
            ("POST", f"{alice}/deposit", b'{"amount": 5', "*/*"),
            ("POST", f"{alice}/deposit", b" " * 100_000, "*/*"),
            ("DELETE", f"{alice}/deposit", None, "*/*"),
        ):
            with self.subTest(f"{method} {path} {body and body[:20]!r}"):
                plain, traced = (
                    self.ask(api, method, path, body, Accept=accept)
                    for api in (self.plain, self.traced)
                )
                self.assertEqual(plain, traced)

    def test_makes_a_deposit_once_and_traces_it(self) -> None:
        path, key = f"/wallets/{self.alice.uuid}/deposit", str(uuid.uuid4())
        made, again = (
            self.ask(api, "POST", path, b'{"amount": 5}', Idempotency_Key=key)
            for api in (self.traced, self.plain)
        )
        self.assertEqual((made[0], made[2]), (200, again[2]))
        self.assert_money(self.alice, balance=5)
        self.assertIn(f"POST {path} 200", self.lines("spans"))

    def test_reports_a_bug_with_neither_body_nor_credentials(self) -> None:
        status, _, answer = self.ask(
            self.traced,
            "POST",
            f"/wallets/{self.alice.uuid}/deposit?a-bug",
            b'{"amount": 777000777}',
            Authorization="Bearer only-for-this-service",
        )
        self.assertEqual((status, json.loads(answer)["code"]), (500, "internal_error"))
        (report,) = self.lines("reports")
        (error,) = json.loads(report)["exception"]["values"]
        self.assertEqual((error["type"], error["value"]), ("RuntimeError", "a bug"))
        self.assertNotIn("777000777", report)
        self.assertNotIn("only-for-this-service", report)

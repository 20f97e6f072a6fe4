"""The check of each request's key, through both transports."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest import mock

from django.test import Client, override_settings

from access.errors import KeysUnknown
from access.services import keys
from access.tests.access import ACTOR, Keys, bearer
from wallets.asgi.application import Application
from wallets.models.wallet_change import WalletChange
from wallets.tests.api import Answer, Api, database_out_of_reach
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import CommittingTestCase, WalletTestCase
from wallets.views.http import request_log

CHALLENGE = 'Bearer realm="wallet"'
INVALID = f'{CHALLENGE}, error="invalid_token"'


class Requests(Keys, Api):
    """Requests for Alice's wallet, by a key that may do everything."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.key("shop")

    def ask(self, header: str | None, method: str = "GET", **options: Any) -> Answer:
        if header is not None:
            options["authorization"] = header
        return self.call(method, options.pop("path", self.path()), **options)

    def assert_refused(self, header: str | None, challenge: str) -> None:
        answer = self.ask(header)
        self.assert_problem(answer, 401, "unauthenticated")
        self.assertEqual(answer.headers["WWW-Authenticate"], challenge)


class KeyTest(Requests, WalletTestCase):
    def test_opens_the_api(self) -> None:
        self.assertEqual(self.ask(bearer(self.made)).status_code, 200)

    def test_takes_the_name_of_the_scheme_in_any_case(self) -> None:
        header = f"bEaReR {self.made.secret}"
        self.assertEqual(self.ask(header).status_code, 200)

    def test_is_required(self) -> None:
        self.assert_refused(None, CHALLENGE)

    def test_is_not_taken_by_another_scheme(self) -> None:
        for header in ("", " ", "Basic c2hvcDp4", self.made.secret, "\x00", "Béarer x"):
            with self.subTest(header):
                self.assert_refused(header, CHALLENGE)

    def test_is_taken_whole_once_and_alone(self) -> None:
        secret = self.made.secret
        for value in (
            *("", " ", "wk_", "x", self.made.key.prefix, self.made.key.digest),
            *(secret[:-1], f"{secret}x", secret.upper(), secret[::-1]),
            *(
                f" {secret}",
                f"{secret} ",
                f"\t{secret}",
                f"{secret}\x00",
                f'"{secret}"',
            ),
            *(f"{secret},{secret}", f"{secret}, Bearer {secret}", f"{secret}é"),
            *(secret[:-1] + ("a" if secret[-1] != "a" else "b"), "x" * 1_000_000),
        ):
            with self.subTest(value[:80]):
                self.assert_refused(f"Bearer {value}", INVALID)

    def test_is_not_taken_from_a_field_that_looks_like_it(self) -> None:
        for name in ("proxy_authorization", "x_api_key"):
            answer = self.get(self.path(), **{name: bearer(self.made)})
            self.assert_problem(answer, 401, "unauthenticated")

    def test_is_not_taken_from_the_query(self) -> None:
        answer = self.get(f"{self.path()}?access_token={self.made.secret}")
        self.assert_problem(answer, 401, "unauthenticated")

    def test_ends_five_seconds_after_it_is_revoked(self) -> None:
        self.ask(bearer(self.made))
        keys.revoke("shop", reason="leaked", actor=ACTOR)
        self.let_pass(5.1)
        self.live.refresh()
        self.assert_refused(bearer(self.made), INVALID)

    def test_ends_when_it_expires_without_being_read_again(self) -> None:
        made = self.key("brief", expires_at=self.after(3))
        self.assertEqual(self.ask(bearer(made)).status_code, 200)
        self.let_pass(3.1)
        self.assert_refused(bearer(made), INVALID)

    def test_is_the_actor_of_what_it_changes(self) -> None:
        said = {"direction": "in", "reason": "asked"}
        path = self.path("freeze")
        answer = self.post(path, said, authorization=bearer(self.made))
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(WalletChange.objects.latest("pk").actor, "shop")

    def test_is_in_no_log(self) -> None:
        with self.assertLogs(request_log.logger, logging.DEBUG) as logs:
            self.ask(bearer(self.made))
            self.ask(f"Bearer {self.made.secret}x")
        told = str([vars(record) for record in logs.records])
        self.assertNotIn(self.made.secret[12:], told)


class ScopeTest(Requests, WalletTestCase):
    def test_is_needed_for_each_operation(self) -> None:
        reader = bearer(self.key("reader", "wallets:read"))
        self.assertEqual(self.ask(reader).status_code, 200)
        answer = self.ask(reader, "POST", path=self.path("deposit"), body={"amount": 1})
        problem = self.assert_problem(answer, 403, "forbidden")
        self.assertEqual(problem["detail"], "The key needs the scope deposits:write.")
        self.assertEqual(
            answer.headers["WWW-Authenticate"],
            f'{CHALLENGE}, error="insufficient_scope", scope="deposits:write"',
        )
        self.assert_money(self.alice, balance=0)

    def test_to_write_is_none_to_read(self) -> None:
        writer = bearer(self.key("writer", "wallets:write", "deposits:write"))
        self.assert_problem(self.ask(writer), 403, "forbidden")
        made = self.ask(writer, "POST", path=self.path("deposit"), body={"amount": 7})
        self.assertEqual(made.status_code, 200)

    def test_is_that_of_get_for_head(self) -> None:
        reader, other = self.key("a", "wallets:read"), self.key("b", "events:read")
        self.assertEqual(self.ask(bearer(reader), "HEAD").status_code, 200)
        self.assertEqual(self.ask(bearer(other), "HEAD").status_code, 403)

    def test_is_needed_for_csv_that_django_answers(self) -> None:
        path = self.path("statement/")
        asked = {"path": path, "accept": "text/csv"}
        self.assertEqual(self.ask(None, **asked).status_code, 401)
        other = bearer(self.key("b", "events:read"))
        self.assertEqual(self.ask(other, **asked).status_code, 403)
        reader = bearer(self.key("c", "transactions:read"))
        self.assertEqual(self.ask(reader, **asked).status_code, 200)

    def test_is_not_needed_for_what_no_operation_serves(self) -> None:
        """Any key may learn which methods there are."""
        other = bearer(self.key("b", "events:read"))
        self.assertEqual(self.ask(other, "OPTIONS").status_code, 204)
        self.assertEqual(self.ask(other, "DELETE").status_code, 405)


class OrderTest(Requests, WalletTestCase):
    """Who calls is found out before anything else of a request is looked at."""

    def test_tells_nobody_without_a_key_what_is_wrong(self) -> None:
        deposit = self.path("deposit")
        for method, path, options in (
            ("DELETE", self.path(), {}),
            ("OPTIONS", self.path(), {}),
            ("HEAD", self.path(), {}),
            ("PUT", deposit, {"body": b"x"}),
            ("POST", deposit, {"body": b"nonsense"}),
            ("POST", deposit, {"body": b"x" * 300_000}),
            ("POST", deposit, {"content_type": "text/plain", "body": b"x"}),
            ("POST", deposit, {"key": "no key"}),
            ("GET", f"{self.path()}?nonsense=1", {}),
            ("GET", self.path(), {"accept": "text/html"}),
            ("GET", self.path(), {"cookie": "a=b"}),
            ("GET", self.path("transactions/77/"), {}),
            ("GET", "/wallets/00000000-0000-4000-8000-000000000000/", {}),
        ):
            with self.subTest(method=method, path=path, **options):
                answer = self.ask(None, method, path=path, **options)
                self.assertEqual(answer.status_code, 401)

    def test_leaves_paths_open_that_say_nothing(self) -> None:
        for path in ("/", "/healthz", "/readyz", "/problems/", "/api/schema/"):
            with self.subTest(path):
                self.assertEqual(self.get(path).status_code, 200)
        self.assertEqual(self.get("/nothing").status_code, 404)


class RateTest(Requests, WalletTestCase):
    def test_is_limited_by_the_minute(self) -> None:
        busy = bearer(self.key("busy", rate=2))
        answers = [self.ask(busy) for _ in range(3)]
        self.assertEqual([one.status_code for one in answers], [200, 200, 429])
        self.assert_problem(answers[2], 429, "rate_limited")
        told = {
            name: answers[2].headers[name]
            for name in ("Retry-After", "RateLimit", "RateLimit-Policy")
        }
        self.assertEqual(
            told,
            {
                "Retry-After": "60",
                "RateLimit": '"key";r=0;t=60',
                "RateLimit-Policy": '"key";q=2;w=60',
            },
        )
        self.let_pass(59.5)
        self.live.refresh()
        self.assertEqual(self.ask(busy).headers["Retry-After"], "1")
        self.let_pass(0.5)
        self.assertEqual(self.ask(busy).status_code, 200)

    def test_counts_each_key_for_itself(self) -> None:
        first, other = self.key("first", rate=1), self.key("other", rate=1)
        self.assertEqual(self.ask(bearer(first)).status_code, 200)
        self.assertEqual(self.ask(bearer(other)).status_code, 200)

    def test_counts_a_name_once_during_a_rotation(self) -> None:
        old = self.key("busy", rate=1)
        new = keys.rotate("busy", overlap=100, actor=ACTOR)
        self.live.refresh()
        self.assertEqual(self.ask(bearer(old)).status_code, 200)
        self.assertEqual(self.ask(bearer(new)).status_code, 429)

    def test_counts_a_refused_request_too(self) -> None:
        busy = bearer(self.key("busy", "events:read", rate=1))
        self.assertEqual(self.ask(busy).status_code, 403)
        self.assertEqual(self.ask(busy).status_code, 429)

    @override_settings(API_KEY_RATE=1)
    def test_has_a_default(self) -> None:
        usual = bearer(self.key("usual"))
        self.assertEqual(self.ask(usual).status_code, 200)
        self.assertEqual(self.ask(usual).status_code, 429)


class AsgiKeyTest(KeyTest):
    client_class = AsgiClient


class AsgiScopeTest(ScopeTest):
    client_class = AsgiClient


class AsgiOrderTest(OrderTest):
    client_class = AsgiClient


class AsgiRateTest(RateTest):
    client_class = AsgiClient


class SameTest(Requests, WalletTestCase):
    """WSGI and ASGI answer a caller who is refused with the same bytes."""

    # What belongs to one answer, or to its transport.
    OWN = {"x-request-id", "content-length"}

    def test_is_given_to_whoever_is_refused(self) -> None:
        none, other = bearer(self.key("a", "events:read")), self.key("b", rate=1)
        clients = Client(), AsgiClient()
        self.ask(bearer(other))
        for header in (None, "", "Basic x", "Bearer x", none, bearer(other)):
            for method, path in (
                ("GET", self.path()),
                ("HEAD", self.path()),
                ("OPTIONS", self.path()),
                ("PUT", self.path()),
                ("POST", self.path("deposit")),
                ("POST", self.path("deposit/")),
                ("GET", self.path("statement/")),
                ("GET", "/healthz"),
            ):
                named = {} if header is None else {"authorization": header}
                answers = [one.generic(method, path, headers=named) for one in clients]
                first, second = [
                    (
                        one.status_code,
                        {
                            name.lower(): text
                            for name, text in one.headers.items()
                            if name.lower() not in self.OWN
                        },
                        one.content,
                    )
                    for one in answers
                ]
                with self.subTest(header=header, method=method, path=path):
                    self.assertEqual(first, second)


class StartTest(Keys, WalletTestCase):
    def test_of_a_process_reads_the_keys_before_the_first_request(self) -> None:
        messages = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
        said: list[str] = []

        async def receive() -> dict[str, Any]:
            return messages.pop()

        async def send(message: dict[str, Any]) -> None:
            said.append(message["type"])

        with mock.patch.object(
            self.live, "start", side_effect=lambda: said.append("read")
        ):
            asyncio.run(Application()({"type": "lifespan"}, receive, send))
        self.assertEqual(
            said, ["read", "lifespan.startup.complete", "lifespan.shutdown.complete"]
        )


class BodyTest(Keys, WalletTestCase):
    """ASGI: nobody without a key makes the process hold a body."""

    def asked(self, authorization: bytes) -> tuple[int, int]:
        """Return the status of a deposit, and how often its body was asked for."""
        calls, sent = [], []

        async def receive() -> dict[str, Any]:
            calls.append(1)
            return {"type": "http.request", "body": b'{"amount":', "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/wallets/{self.alice.uuid}/deposit",
            "raw_path": f"/wallets/{self.alice.uuid}/deposit".encode(),
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", authorization),
                (b"content-type", b"application/json"),
            ],
            "scheme": "http",
            "http_version": "1.1",
            "client": ("192.0.2.7", 1),
            "server": ("testserver", 80),
        }
        asyncio.run(Application()(scope, receive, send))
        return sent[0]["status"], len(calls)

    def test_is_not_read_of_a_request_without_a_key(self) -> None:
        self.assertEqual(self.asked(b"Bearer nothing"), (401, 0))

    def test_is_read_of_a_request_with_one(self) -> None:
        made = self.key()
        self.assertEqual(self.asked(bearer(made).encode()), (400, 1))


class OutageTest(Requests, CommittingTestCase):
    """The database is away: for five seconds the last copy counts, and none after that."""

    def setUp(self) -> None:
        super().setUp()
        self.ask(bearer(self.made))

    def health_of(self) -> int:
        return self.get("/healthz").status_code

    def test_refuses_everybody_when_the_copy_is_too_old(self) -> None:
        path = self.path()
        with database_out_of_reach():
            self.let_pass(5.1)
            answer = self.ask(bearer(self.made), path=path)
            self.assert_problem(answer, 503, "service_unavailable")
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
            self.assertEqual(self.ask(None, path=path).status_code, 401)
            self.assertEqual(self.health_of(), 200)
        self.assertEqual(self.ask(bearer(self.made)).status_code, 200)

    def test_does_not_wait_on_an_event_loop(self) -> None:
        self.let_pass(5.1)

        async def ask() -> None:
            # Django itself refuses a query here, by another exception.
            with self.assertRaises(KeysUnknown):
                self.live.find(self.made.key.digest)

        asyncio.run(ask())

    def test_tells_clients_of_asgi_to_come_again(self) -> None:
        self.let_pass(5.1)
        client = AsgiClient()
        headers = {"authorization": bearer(self.made)}
        answer = client.get(self.path(), headers=headers)
        self.assertEqual(
            (answer.status_code, answer.headers["Retry-After"]), (503, "1")
        )

"""The short way for deposits: what it answers is what Django answers, or Django does."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any
from unittest import mock

from django.core.signals import request_finished
from django.db import OperationalError
from django.test import override_settings

from wallets.models.wallet import Wallet
from wallets.services import deposit as deposit_service
from wallets.services import deposit_batch
from wallets.services.wallet import WalletService
from wallets.tests.api import (
    Api,
    call_wsgi,
    keep_connection,
    nothing_written,
    without_ids_and_times,
)
from wallets.tests.base import WalletTestCase
from wallets.utils import request_metrics
from wallets.views import express
from wallets.views.express import Asked, Express, Incomplete
from wallets.views.wsgi import Handler

Found = tuple[str, dict[str, str], bytes]
PLAIN = b'{"amount": 5}'
HERE = "192.0.2.1"


class ExpressTestCase(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        keep_connection(self)
        self.express = Express(Handler())
        self.learn()

    def learn(self, **fields: str) -> Found:
        """Have Django answer a deposit, and the short way learn from it."""
        charlie = WalletService.create()
        environ = {
            "HTTP_" + name.upper().replace("-", "_"): value
            for name, value in self.fields(new_key(), fields).items()
            if name not in ("Content-Type", "Content-Length")
        }
        path = self.path("deposit", wallet=charlie)
        return call_wsgi(self.express, path, PLAIN, REMOTE_ADDR=HERE, **environ)

    def fields(self, key: str | None, changes: dict[str, Any]) -> dict[str, str]:
        fields = {
            "Host": "testserver",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def message(
        self,
        wallet: Wallet,
        key: str | None,
        body: bytes = PLAIN,
        *,
        line: str = "POST {} HTTP/1.1",
        action: str = "deposit",
        **changes: Any,
    ) -> bytes:
        """A request's bytes; a field's name is written with low lines, None is left out."""
        changes = {name.replace("_", "-"): value for name, value in changes.items()}
        fields = self.fields(key, {"Content-Length": str(len(body)), **changes})
        lines = [f"{name}: {value}" for name, value in fields.items()]
        first = line.format(self.path(action, wallet=wallet))
        return "\r\n".join([first, *lines, "", ""]).encode() + body

    def read(self, *args: Any, address: str = HERE, **options: Any) -> Asked | None:
        return self.express.read(self.message(*args, **options), address)

    def short(self, *args: Any, **options: Any) -> Found | None:
        """What the short way answers."""
        asked = self.read(*args, **options)
        if asked is None:
            return None
        (answer,) = self.express.deposit([asked])
        if answer is None:
            return None
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        return "200 OK", dict(line.split(": ", 1) for line in lines), body

    def long(self, wallet: Wallet, key: str, **environ: str) -> Found:
        """What Django answers."""
        path = self.path("deposit", wallet=wallet)
        return call_wsgi(Handler(), path, PLAIN, HTTP_IDEMPOTENCY_KEY=key, **environ)


def new_key() -> str:
    return str(uuid.uuid4())


def comparable(found: Found | None, wallet: Wallet) -> Any:
    """The answer without what differs between any two deposits."""
    assert found is not None
    status, headers, body = found
    text = without_ids_and_times(body).replace(str(wallet.uuid), "WALLET")
    own = {"X-Request-ID", "Content-Length"}
    return status, {k: v for k, v in headers.items() if k not in own}, text


class ExpressTest(ExpressTestCase):
    """The short way…"""

    def test_answers_a_deposit_as_django_does(self) -> None:
        for given in ("0123456789abcdef", "no id, at all", None):
            for written in (str, str.upper, '"{}"'.format):
                with self.subTest(given=given, key=written("key")):
                    short = self.short(
                        self.alice, written(new_key()), X_Request_ID=given
                    )
                    sent = {"HTTP_X_REQUEST_ID": given} if given else {}
                    long = self.long(self.bob, written(new_key()), **sent)
                    self.assertEqual(
                        comparable(short, self.alice), comparable(long, self.bob)
                    )
                    for _, headers, body in (short, long):  # type: ignore[misc]
                        self.assertEqual(headers["Content-Length"], str(len(body)))
                        self.assertEqual(
                            headers["X-Request-ID"] == given,
                            bool(sent) and " " not in given,
                        )

    def test_tells_the_key_of_the_request(self) -> None:
        for written in (str, str.upper, '"{}"'.format):
            key = new_key()
            _, _, body = self.short(self.alice, written(key))  # type: ignore[misc]
            told = json.loads(body)["transaction"]["idempotency_key"]
            self.assertEqual(told, str(key))

    def test_takes_what_clients_and_proxies_usually_send(self) -> None:
        for fields in (
            {"User_Agent": "curl/8", "Authorization": "Bearer 1"},
            {"Connection": "keep-alive", "Accept_Encoding": "gzip, br"},
            {"X_Forwarded_For": "198.51.100.7", "X_Real_IP": "198.51.100.7"},
            {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        ):
            with self.subTest(fields):
                self.assertIsNotNone(self.short(self.alice, new_key(), **fields))

    def test_makes_many_deposits_and_answers_each(self) -> None:
        key = new_key()
        asked = [
            self.read(self.alice, key),
            self.read(self.bob, new_key(), b'{"amount": 7}'),
            self.read(Wallet(uuid=uuid.uuid4()), new_key()),
            self.read(self.alice, new_key(), b'{"amount": 0}'),
            self.read(self.alice, new_key(), b'{"amount": 9}'),
        ]
        answers = self.express.deposit(asked)  # type: ignore[arg-type]
        self.assertEqual(
            [one is None for one in answers], [False, False, True, True, False]
        )
        self.assertIn(b'"balance":5}', answers[0] or b"")
        self.assertIn(b'"balance":14}', answers[4] or b"")
        self.assert_money(self.alice, balance=14)
        self.assert_money(self.bob, balance=7)

    def test_makes_no_deposit_twice(self) -> None:
        """A replay is answered as one, or by Django."""
        key = new_key()
        twice = [self.read(self.alice, key), self.read(self.alice, key)]
        first, second = self.express.deposit(twice)  # type: ignore[arg-type]
        (third,) = self.express.deposit(twice[:1])  # type: ignore[arg-type]
        self.assertNotIn(b"Idempotent-Replayed", first or b"")
        for repeated in filter(None, (second, third)):
            self.assertIn(b"\r\nIdempotent-Replayed: true\r\n", repeated)
        self.assert_money(self.alice, balance=5)

    def test_writes_the_line_and_the_count_that_django_would(self) -> None:
        found = []
        for answer in (self.short, self.long):
            with (
                override_settings(METRICS_ENABLED=True),
                mock.patch.object(request_metrics.REQUESTS, "labels") as labels,
                self.assertLogs("wallets.views.request_log") as logs,
            ):
                answer(self.alice, new_key())  # type: ignore[operator]
            (record,) = logs.records
            line = (record.levelno, record.msg, record.method, record.path, record.status)  # type: ignore[attr-defined]
            found.append((line, labels.call_args))
        self.assertEqual(found[0][0], found[1][0])
        self.assertEqual(found[0][0][0], logging.INFO)
        self.assertEqual(
            found[0][1], mock.call("POST", "wallets/<uuid:wallet_uuid>/deposit", "200")
        )

    def test_writes_the_id_that_it_answers(self) -> None:
        with self.assertLogs("wallets.views.request_log") as logs:
            found = self.short(self.alice, new_key())
        assert found is not None
        self.assertEqual(logs.records[0].request_id, found[1]["X-Request-ID"])  # type: ignore[attr-defined]

    def test_leaves_to_django_what_is_not_plain(self) -> None:
        for name, options in {
            "no key": {"key": None},
            "second key": {"X_Idempotency_Key": str(new_key())},
            "charset": {"Content_Type": "application/json; charset=utf-8"},
            "form": {"Content_Type": "text/plain"},
            "query": {"line": "POST {}?a=1 HTTP/1.1"},
            "slash": {"action": "deposit/"},
            "withdrawal": {"action": "withdraw"},
            "encoded": {"line": "POST {}%20 HTTP/1.1"},
            "absolute": {"line": "POST http://testserver{} HTTP/1.1"},
            "method": {"line": "PUT {} HTTP/1.1"},
            "old": {"line": "POST {} HTTP/1.0"},
            "new": {"line": "POST {} HTTP/1.2"},
            "spaces": {"line": "POST  {} HTTP/1.1"},
            "coding": {"Content_Encoding": "gzip"},
            "chunks": {"Transfer_Encoding": "chunked"},
            "only chunks": {"Transfer_Encoding": "chunked", "Content_Length": None},
            "expectation": {"Expect": "100-continue"},
            "upgrade": {"Upgrade": "h2c"},
            "closes": {"Connection": "close"},
            "cookie": {"Cookie": "csrftoken=1"},
            "length": {"Content_Length": "+13"},
            "zero": {"Content_Length": "013"},
            "short": {"Content_Length": "12"},
            "long": {"Content_Length": "1000"},
            "no length": {"Content_Length": None},
            "host": {"Host": "elsewhere.example"},
            "no host": {"Host": None},
            "accept": {"Accept": "application/problem+json, text/html"},
            "secure": {"X_Forwarded_Proto": "https"},
            "folded": {"X_A": "a\r\n b"},
            "bare line": {"X_A": "a\nHost: evil"},
            "return": {"X_A": "a\rHost: evil"},
            "NUL": {"X_A": "a\0"},
            "tab": {"X_A": "a\tb"},
            "latin": {"X_A": "é"},
            "space at its end": {"X_A": "a "},
            "nothing": {"X_A": ""},
            "long field": {"X_A": "a" * express.MAX_BYTES},
            "many fields": {f"X_{n}": "v" for n in range(express.MAX_FIELDS)},
        }.items():
            with self.subTest(name):
                options = {"key": new_key(), **options}
                self.assertIsNone(self.read(self.alice, options.pop("key"), **options))

    def test_leaves_to_django_what_is_there_twice(self) -> None:
        sent = self.message(self.alice, new_key())
        for line in (b"Host: testserver", b"content-length: 13", b"X-A: 1\r\nx-a: 2"):
            with self.subTest(line):
                twice = sent.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")
                self.assertIsNone(self.express.read(twice, HERE))

    def test_leaves_names_that_servers_read_differently_to_django(self) -> None:
        sent = self.message(self.alice, new_key())
        for line in (b"SCRIPT_NAME: /x", b"X-A : 1", b" X-A: 1", b": 1", b"no colon"):
            with self.subTest(line):
                strange = sent.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")
                self.assertIsNone(self.express.read(strange, HERE))

    def test_leaves_more_than_one_request_to_django(self) -> None:
        sent = self.message(self.alice, new_key())
        for more in (b" ", b"POST", self.message(self.bob, new_key())):
            self.assertIsNone(self.express.read(sent + more, HERE))

    def test_leaves_every_refusal_to_django(self) -> None:
        used = new_key()
        self.short(self.alice, used)
        for name, (key, body) in {
            "nothing": (new_key(), b'{"amount": 0}'),
            "more than there is": (new_key(), b'{"amount": 1000000000000001}'),
            "text": (new_key(), b'{"amount": "5"}'),
            "true": (new_key(), b'{"amount": true}'),
            "fraction": (new_key(), b'{"amount": 5.0}'),
            "twice": (new_key(), b'{"amount":1,"amount":2}'),
            "more": (new_key(), b'{"amount": 1, "x": 1}'),
            "array": (new_key(), b"[5]"),
            "broken": (new_key(), b'{"amount": 5'),
            "no UTF-8": (new_key(), b'{"amount": 5}\xff'),
            "key": ("no-uuid", PLAIN),
            "keys": (f"{used}, {used}", PLAIN),
            "used": (used, b'{"amount": 6}'),
        }.items():
            with self.subTest(name), nothing_written():
                self.assertIsNone(self.short(self.alice, key, body))
        with nothing_written():
            self.assertIsNone(self.short(Wallet(uuid=uuid.uuid4()), new_key()))

    def test_waits_for_the_rest_of_what_may_become_a_deposit(self) -> None:
        sent = self.message(self.alice, new_key())
        for end in (20, sent.index(b"\r\n\r\n") + 2, len(sent) - 1):
            with self.assertRaises(Incomplete):
                self.express.read(sent[:end], HERE)
        self.assertIsNotNone(self.express.read(sent, HERE))

    def test_waits_for_nothing_that_is_already_refused(self) -> None:
        key = "no-uuid"
        sent = self.message(self.alice, key, Content_Type="text/plain")
        self.assertIsNone(self.express.read(sent[:-1], HERE))

    def test_raises_what_concerns_all(self) -> None:
        asked = self.read(self.alice, new_key())
        with (
            mock.patch.object(
                deposit_batch.ledger, "post", side_effect=OperationalError
            ),
            mock.patch.object(
                deposit_service.ledger_postgresql,
                "deposit",
                side_effect=OperationalError,
            ),
            self.assertRaises(OperationalError),
        ):
            self.express.deposit([asked])  # type: ignore[list-item]

    def test_leaves_connections_as_django_does(self) -> None:
        """Which closes those that are not to be kept at a request's end."""
        ended = mock.Mock()
        request_finished.connect(ended)
        self.addCleanup(request_finished.disconnect, ended)
        self.short(self.alice, new_key())
        ended.assert_called_once()


class LearningTest(ExpressTestCase):
    """From Django's answers the short way…"""

    def test_learns_what_an_answer_of_the_kind_looks_like(self) -> None:
        for fields in (
            {"Accept": "application/json"},
            {"X_Forwarded_Proto": "http"},
            {"Host": "localhost"},
        ):
            with self.subTest(fields):
                self.assertIsNone(self.read(self.alice, new_key(), **fields))
                self.learn(**{k.replace("_", "-"): v for k, v in fields.items()})
                self.assertIsNotNone(self.read(self.alice, new_key(), **fields))

    def test_learns_what_a_proxy_said_for_that_proxy_only(self) -> None:
        self.learn(**{"X-Forwarded-Proto": "https"})
        for address, known in ((HERE, True), ("203.0.113.9", False)):
            asked = self.read(
                self.alice, new_key(), X_Forwarded_Proto="https", address=address
            )
            self.assertEqual(asked is not None, known)

    def test_learns_from_no_refusal(self) -> None:
        status, _, _ = self.learn(Host="evil.example")
        self.assertEqual(status, "400 Bad Request")
        self.assertIsNone(self.read(self.alice, new_key(), Host="evil.example"))

    def test_gives_nobody_the_cookie_of_somebody_else(self) -> None:
        """Django answers a broken CSRF cookie with a new one."""
        accept = "application/json, text/plain"
        _, headers, _ = self.learn(Accept=accept, Cookie="csrftoken=broken")
        self.assertIn("Set-Cookie", headers)
        self.assertIsNone(self.read(self.alice, new_key(), Accept=accept))

    def test_forgets_the_oldest_kind_where_there_are_too_many(self) -> None:
        kinds = ("*/*", "application/json", "application/*")
        with mock.patch.object(express, "MAX_KINDS", 2):
            for accept in kinds:
                self.learn(Accept=accept)
        known = [self.read(self.alice, new_key(), Accept=kind) for kind in kinds]
        self.assertEqual([one is not None for one in known], [False, True, True])

    def test_learns_from_deposits_only(self) -> None:
        accept = "application/json"
        path = f"/wallets/{self.alice.uuid}/"
        call_wsgi(self.express, path, REQUEST_METHOD="GET", HTTP_ACCEPT=accept)
        self.assertIsNone(self.read(self.alice, new_key(), Accept=accept))

    def test_hands_every_request_to_django(self) -> None:
        found = json.loads(self.learn()[2])
        self.assertEqual(found["wallet"]["balance"], 5)

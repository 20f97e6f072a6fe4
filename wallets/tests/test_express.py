"""The short way for deposits: what it answers is what Django answers, or Django does."""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from typing import Any
from unittest import mock

import structlog
from django.core.signals import request_finished, request_started
from django.db import OperationalError, close_old_connections
from django.test import override_settings

from wallets.errors import BalanceLimit
from wallets.models.wallet import Wallet
from wallets.services.wallet import WalletService
from wallets.tests.api import Api, call_wsgi, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.utils import request_metrics
from wallets.views import express
from wallets.views.express import Express
from wallets.views.wsgi import Handler

Found = tuple[str, dict[str, str], bytes]
PLAIN = b'{"amount": 5}'


class ExpressTestCase(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        # A request closes old connections; the test's transaction is on this one.
        for signal in (request_started, request_finished):
            signal.disconnect(close_old_connections)
            self.addCleanup(signal.connect, close_old_connections)
        self.django = Handler()
        self.passed_on = 0
        self.express = Express(self._pass_on)
        # From the first one it learns how such a request is answered.
        charlie = WalletService.create()
        self.assertEqual(self.send(charlie, new_key())[0], "200 OK")
        self.assertEqual(self.passed_on, 1)
        self.passed_on = 0

    def _pass_on(self, *args: Any) -> Any:
        self.passed_on += 1
        return self.django(*args)

    def send(
        self,
        wallet: Wallet,
        key: str | None,
        body: bytes = PLAIN,
        to: Any = None,
        **environ: Any,
    ) -> Found:
        path = self.path(environ.pop("action", "deposit"), wallet=wallet)
        environ = {"RAW_URI": path, "HTTP_IDEMPOTENCY_KEY": key, **environ}
        return call_wsgi(to or self.express, path, body, **environ)


def new_key() -> str:
    return str(uuid.uuid4())


def comparable(found: Found, wallet: Wallet) -> Any:
    """The answer without what differs between any two deposits."""
    status, headers, body = found
    text = body.decode().replace(str(wallet.uuid), "WALLET")
    text = re.sub(r'"id":[0-9]+', '"id":ID', text)
    text = re.sub(r'"[0-9-]+T[0-9:.]+Z"', '"TIME"', text)
    own = {"X-Request-ID", "Content-Length"}
    return status, {k: v for k, v in headers.items() if k not in own}, text


class ExpressTest(ExpressTestCase):
    """The short way…"""

    def test_answers_a_deposit_and_its_replay_as_django_does(self) -> None:
        for environ in (
            {},
            {"HTTP_USER_AGENT": "curl", "HTTP_AUTHORIZATION": "Bearer 1"},
            {"HTTP_X_REQUEST_ID": "0123456789abcdef"},
            {"HTTP_X_REQUEST_ID": "no id, at all"},
        ):
            keys = new_key(), new_key()
            for written in (str, str.upper, '"{}"'.format):
                with self.subTest(environ=environ, key=written("key")):
                    short = self.send(self.alice, written(keys[0]), **environ)
                    long = self.send(
                        self.bob, written(keys[1]), to=self.django, **environ
                    )
                    self.assertEqual(
                        comparable(short, self.alice), comparable(long, self.bob)
                    )
                    given = environ.get("HTTP_X_REQUEST_ID", "")
                    for _, headers, body in (short, long):
                        self.assertEqual(headers["Content-Length"], str(len(body)))
                        self.assertEqual(
                            headers["X-Request-ID"] == given, given.isalnum()
                        )
        self.assertEqual(self.passed_on, 0, "it went the long way")

    def test_writes_the_line_and_the_count_that_django_would(self) -> None:
        found = []
        for application in (self.express, self.django):
            with (
                override_settings(METRICS_ENABLED=True),
                mock.patch.object(request_metrics.REQUESTS, "labels") as labels,
                self.assertLogs("wallets.views.request_log") as logs,
            ):
                self.send(self.alice, new_key(), to=application)
            (record,) = logs.records
            line = (record.levelno, record.msg, record.method, record.path, record.status)  # type: ignore[attr-defined]
            found.append((line, labels.call_args))
        self.assertEqual(found[0][0], found[1][0])
        self.assertEqual(found[0][0][0], logging.INFO)
        self.assertEqual(
            found[0][1], mock.call("POST", "wallets/<uuid:wallet_uuid>/deposit", "200")
        )

    def test_leaves_to_django_what_is_not_plain(self) -> None:
        key, accepts = new_key(), "application/problem+json, text/html"
        for name, environ in {
            "no key": {"key": None},
            "charset": {"CONTENT_TYPE": "application/json; charset=utf-8"},
            "form": {"CONTENT_TYPE": "text/plain"},
            "query": {"QUERY_STRING": "a=1"},
            "slash": {"action": "deposit/"},
            "encoded": {"RAW_URI": self.path("deposit").replace("/d", "%2Fd")},
            "mounted": {"SCRIPT_NAME": "/below"},
            "method": {"REQUEST_METHOD": "PUT"},
            "coding": {"HTTP_CONTENT_ENCODING": "gzip"},
            "chunks": {"HTTP_TRANSFER_ENCODING": "chunked"},
            "length": {"CONTENT_LENGTH": "+13"},
            "long": {"CONTENT_LENGTH": "1000"},
            "host": {"HTTP_HOST": "elsewhere.example"},
            "accept": {"HTTP_ACCEPT": accepts},
            "secure": {"wsgi.url_scheme": "https"},
        }.items():
            with self.subTest(name):
                self.passed_on = 0
                environ = {"key": key, **environ}
                self.send(self.alice, environ.pop("key"), **environ)
                self.assertEqual(self.passed_on, 1)

    def test_leaves_every_refusal_to_django(self) -> None:
        used = new_key()
        self.send(self.alice, used)
        stranger = Wallet(uuid=uuid.uuid4())
        for name, (wallet, key, body, code) in {
            "nothing": (self.alice, new_key(), b'{"amount": 0}', "amount_invalid"),
            "text": (self.alice, new_key(), b'{"amount": "5"}', "amount_invalid"),
            "true": (self.alice, new_key(), b'{"amount": true}', "amount_invalid"),
            "twice": (
                self.alice,
                new_key(),
                b'{"amount":1,"amount":2}',
                "json_invalid",
            ),
            "more": (self.alice, new_key(), b'{"amount": 1, "x": 1}', "unknown_field"),
            "array": (self.alice, new_key(), b"[5]", "json_invalid"),
            "broken": (self.alice, new_key(), b'{"amount": 5', "json_invalid"),
            "key": (self.alice, "no-uuid", PLAIN, "idempotency_key_invalid"),
            "keys": (self.alice, f"{used}, {used}", PLAIN, "idempotency_key_invalid"),
            "used": (self.alice, used, b'{"amount": 6}', "idempotency_key_reused"),
            "wallet": (stranger, new_key(), PLAIN, "wallet_not_found"),
        }.items():
            with self.subTest(name), nothing_written():
                self.passed_on = 0
                _, headers, answer = self.send(wallet, key, body)
                self.assertEqual(headers["Content-Type"], "application/problem+json")
                self.assertEqual(json.loads(answer)["code"], code)
                self.assertEqual(self.passed_on, 1)

    def test_leaves_a_body_that_breaks_off_to_django(self) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise OSError("connection reset")

        for options in (
            {"wsgi_input": Broken(), "CONTENT_LENGTH": "13"},
            {"CONTENT_LENGTH": "14"},
        ):
            with nothing_written():
                _, _, answer = self.send(self.alice, new_key(), **options)
                self.assertEqual(json.loads(answer)["code"], "body_incomplete")

    def test_does_not_wait_for_the_body_of_a_bad_key(self) -> None:
        body = mock.Mock(spec=io.BytesIO)
        _, _, answer = self.send(self.alice, "no-uuid", wsgi_input=body)
        self.assertEqual(json.loads(answer)["code"], "idempotency_key_invalid")
        body.read.assert_not_called()

    def test_reads_no_second_time_what_did_not_come_in_time(self) -> None:
        class Late(io.BytesIO):
            reads = 0

            def read(self, size: int | None = -1) -> bytes:
                self.reads += 1
                if self.reads == 1:
                    raise TimeoutError
                return super().read(size)

        for application in (self.express, self.django):
            with nothing_written():
                _, _, answer = self.send(
                    self.alice, new_key(), to=application, wsgi_input=Late(PLAIN)
                )
            self.assertEqual(json.loads(answer)["code"], "body_incomplete")

    def test_writes_lines_about_one_request_with_one_id(self) -> None:
        ids = []

        def note(*_: Any) -> None:
            ids.append(structlog.contextvars.get_contextvars()["request_id"])
            raise OperationalError

        with mock.patch.object(WalletService, "deposit", side_effect=note):
            _, headers, _ = self.send(self.alice, new_key())
        self.assertEqual(ids, [headers["X-Request-ID"]])

    def test_leaves_connections_as_django_does(self) -> None:
        """Which closes those that are not to be kept at a request's end."""
        ended = mock.Mock()
        request_finished.connect(ended)
        self.addCleanup(request_finished.disconnect, ended)
        self.send(self.alice, new_key())
        ended.assert_called_once()

    def test_asks_the_service_once_whatever_it_raises(self) -> None:
        """A lock is not waited for twice, nor a refusal judged again."""
        for error, status in (
            (OperationalError(), "503"),
            (BalanceLimit("full"), "422"),
            (Wallet.DoesNotExist(), "404"),
            (AssertionError("a bug"), "500"),
        ):
            with (
                self.subTest(type(error).__name__),
                mock.patch.object(WalletService, "deposit", side_effect=error) as made,
            ):
                found = self.send(self.alice, new_key())
                self.assertEqual(found[0][:3], status)
                made.assert_called_once()

    def test_learns_from_no_refusal(self) -> None:
        for _ in range(2):
            status, _, _ = self.send(self.alice, new_key(), HTTP_HOST="evil.example")
            self.assertEqual(status, "400 Bad Request")
        self.assertEqual(self.passed_on, 2)

    def test_gives_nobody_the_cookie_of_somebody_else(self) -> None:
        """Django answers a broken CSRF cookie with a new one."""
        kind = {"HTTP_ACCEPT": "application/json, text/plain"}
        for _ in range(2):
            broken = {**kind, "HTTP_COOKIE": "csrftoken=broken"}
            _, headers, _ = self.send(self.alice, new_key(), **broken)
            self.assertIn("Set-Cookie", headers)
        for _ in range(2):
            _, headers, _ = self.send(self.alice, new_key(), **kind)
            self.assertNotIn("Set-Cookie", headers)
            self.assertNotIn("Vary", headers)

    def test_learns_nothing_that_is_meant_for_one_client(self) -> None:
        def personal(environ: Any, start_response: Any) -> Any:
            self.passed_on += 1
            start_response("200 OK", [("Set-Cookie", "secret")])
            return [b""]

        self.express = Express(personal)
        for _ in range(2):
            self.send(self.alice, new_key())
        self.assertEqual(self.passed_on, 2)

    def test_asks_django_which_server_it_was_where_no_host_is_named(self) -> None:
        def hostless(environ: dict[str, Any], start_response: Any) -> Any:
            del environ["HTTP_HOST"]
            return self.express(environ, start_response)

        for name, answer in ("testserver", "200 OK"), ("evil", "400 Bad Request"):
            status, _, _ = self.send(
                self.alice, new_key(), to=hostless, SERVER_NAME=name
            )
            self.assertEqual(status, answer)

    def test_learns_no_more_kinds_than_it_has_room_for(self) -> None:
        with mock.patch.object(express, "MAX_KINDS", 2):
            for _ in range(2):
                for kind in ("*/*", "application/json", "application/*"):
                    self.send(self.alice, new_key(), HTTP_ACCEPT=kind)
        self.assertEqual(self.passed_on, 3 + 2)

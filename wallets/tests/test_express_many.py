"""The short way for many deposits: what it answers is what Django answers, or Django does."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any
from unittest import mock

from django.core.signals import request_finished
from django.db import OperationalError
from django.test import SimpleTestCase, override_settings

from wallets.errors import LostRace
from wallets.models.base import MAX_MONEY
from wallets.models.wallet import Wallet
from wallets.serializers.deposit import read_item, read_plain_items
from wallets.services.deposit import MAX_MANY
from wallets.tests.api import (
    Api,
    call_wsgi,
    item,
    keep_connection,
    nothing_written,
    without_ids_and_times,
)
from wallets.tests.base import WalletTestCase
from wallets.utils import request_metrics, strict_json
from wallets.views import express_many
from wallets.views.express import Express
from wallets.views.wsgi import Handler

PATH = "/deposits/"
Found = tuple[str, dict[str, str], bytes]


class ExpressManyTestCase(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        keep_connection(self)
        self.django = mock.Mock(side_effect=Handler())
        self.express = Express(self.django)
        self.call_it([])

    def call_it(self, items: Any, path: str = PATH, **environ: Any) -> Found:
        body = items if isinstance(items, bytes) else json.dumps(items).encode()
        return call_wsgi(self.express, path, body, **{"RAW_URI": path, **environ})

    def short(self, items: Any, **environ: Any) -> Found:
        """What the short way answers, without Django."""
        self.django.reset_mock()
        found = self.call_it(items, **environ)
        self.django.assert_not_called()
        return found

    def long(self, items: Any, path: str = PATH, **environ: Any) -> Found:
        """What Django answers, called by the short way."""
        self.django.reset_mock()
        found = self.call_it(items, path, **environ)
        self.django.assert_called_once()
        return found


def comparable(found: Found) -> Any:
    """The answer without what differs between any two requests."""
    status, headers, body = found
    assert headers.pop("Content-Length") == str(len(body))
    assert headers.pop("X-Request-ID")
    return status, headers, without_ids_and_times(body)


class ExpressManyTest(ExpressManyTestCase):
    """The short way for many…"""

    def test_answers_as_django_does(self) -> None:
        unknown = Wallet(uuid=uuid.uuid4())
        key = uuid.uuid4()
        self.deposit(MAX_MONEY - 100, self.bob)
        items = [
            *(item(self.alice), item(self.alice, 7, key), item(self.alice, 7, key)),
            *(item(self.alice, 8, key), item(unknown), item(self.bob, 101)),
            item(self.alice, MAX_MONEY + 1),
        ]
        charlies = json.loads(json.dumps(items))
        short = self.short(items)
        for one in charlies:  # the same once more: other keys, an empty wallet
            one["idempotency_key"] = str(uuid.uuid5(key, one["idempotency_key"]))
        results = [line["result"] for line in json.loads(short[2])]
        self.assertEqual(results, ["done", "done", "replayed", *["refused"] * 4])
        self.assert_money(self.alice, balance=12)
        again = self.short(items), self.long(items, HTTP_COOKIE="a=b")
        self.assertEqual(*map(comparable, again))
        fresh = [item(self.alice), item(self.alice)]
        first = comparable(self.short(fresh[:1]))
        second = comparable(self.long(fresh[1:], HTTP_COOKIE="a=b"))
        self.assertEqual(first[:2], second[:2])
        self.assertEqual(first[2].replace('"balance":17', '"balance":22'), second[2])

    def test_reads_names_in_any_order_and_keys_in_either_case(self) -> None:
        one = item(self.alice)
        turned = dict(reversed(one.items()))
        turned["idempotency_key"] = turned["idempotency_key"].upper()
        found = self.short(json.dumps([one, turned], indent=2).encode())
        results = [line["result"] for line in json.loads(found[2])]
        self.assertEqual(results, ["done", "replayed"])
        told = {line["transaction"]["idempotency_key"] for line in json.loads(found[2])}
        self.assertEqual(told, {one["idempotency_key"]})

    def test_gives_the_id_that_came_or_a_new_one(self) -> None:
        for given, kept in (("0123456789abcdef", True), ("no id, at all", False)):
            with self.assertLogs("wallets.views.request_log") as logs:
                headers = self.short([item(self.alice)], HTTP_X_REQUEST_ID=given)[1]
            self.assertEqual(headers["X-Request-ID"] == given, kept)
            (record,) = logs.records
            line = (record.method, record.path, record.status)  # type: ignore[attr-defined]
            self.assertEqual(line, ("POST", PATH, 200))

    def test_counts_requests_where_they_are_counted(self) -> None:
        for counts in (True, False):
            with (
                override_settings(METRICS_ENABLED=counts),
                mock.patch.object(request_metrics.REQUESTS, "labels") as labels,
            ):
                self.short([item(self.alice)])
            asked = [mock.call("POST", "deposits/", "200")] if counts else []
            self.assertEqual(labels.call_args_list, asked)

    def test_leaves_connections_as_django_does(self) -> None:
        """Which closes those that are not to be kept at a request's end."""
        ended = mock.Mock()
        request_finished.connect(ended)
        self.addCleanup(request_finished.disconnect, ended)
        self.short([item(self.alice)])
        ended.assert_called_once()

    def test_leaves_to_django_what_is_not_plain(self) -> None:
        items = [item(self.alice)]
        for name, environ in {
            "cookie": {"HTTP_COOKIE": "a=b"},
            "coding": {"HTTP_CONTENT_ENCODING": "gzip"},
            "chunks": {"HTTP_TRANSFER_ENCODING": "chunked"},
            "charset": {"CONTENT_TYPE": "application/json; charset=utf-8"},
            "form": {"CONTENT_TYPE": "text/plain"},
            "no form": {"CONTENT_TYPE": None},
            "query": {"RAW_URI": "/deposits/?", "QUERY_STRING": ""},
            "encoded": {"RAW_URI": "/deposits%2f"},
            "another server": {"RAW_URI": None},
            "method": {"REQUEST_METHOD": "PUT"},
            "length": {"CONTENT_LENGTH": "+10"},
            "no length": {"CONTENT_LENGTH": None},
            "nothing": {"CONTENT_LENGTH": "0"},
            "too long": {"CONTENT_LENGTH": "300000"},
            "no host": {"HTTP_HOST": None},
            "another host": {"HTTP_HOST": "elsewhere.example"},
            "another form": {"HTTP_ACCEPT": "text/html"},
            "secure": {"HTTP_X_FORWARDED_PROTO": "https"},
        }.items():
            with self.subTest(name):
                self.long(items, **environ)

    def test_gives_django_the_whole_body(self) -> None:
        wrong = item(self.alice) | {"note": "x"}
        found = self.long([item(self.alice), wrong])
        lines = json.loads(found[2])
        self.assertEqual([line["result"] for line in lines], ["done", "refused"])
        self.assertEqual(lines[1]["problem"]["code"], "unknown_field")

    def test_leaves_more_than_there_may_be_to_django(self) -> None:
        items = [item(self.alice) for _ in range(MAX_MANY + 1)]
        with nothing_written():
            status, _, body = self.long(items)
        self.assertEqual(json.loads(body)["code"], "too_many_items", status)

    def test_leaves_a_body_that_breaks_off_to_django(self) -> None:
        body = json.dumps([item(self.alice)]).encode()
        with nothing_written():
            found = self.long(body, CONTENT_LENGTH=str(len(body) + 1))
        self.assertEqual(json.loads(found[2])["code"], "body_incomplete")
        broken = mock.Mock(spec=io.BytesIO)
        broken.read.side_effect = OSError
        with nothing_written():
            found = self.long(body, wsgi_input=broken)
        self.assertEqual(json.loads(found[2])["code"], "body_incomplete")

    def test_has_django_tell_of_trouble_with_the_database(self) -> None:
        """It is not waited for a lock in vain twice."""
        for error, code in (
            (OperationalError, "service_unavailable"),
            (LostRace, "request_in_progress"),
        ):
            with (
                self.subTest(code),
                mock.patch.object(express_many, "deposit_bulk", side_effect=error),
                nothing_written(),
            ):
                status, headers, body = self.long([item(self.alice)])
            self.assertEqual(json.loads(body)["code"], code, status)
            self.assertIn("Retry-After", headers)
        self.short([item(self.alice)])

    def test_learns_from_requests_of_its_own(self) -> None:
        """A deposit of the same kind may be answered with other headers."""
        self.express = Express(self.django)
        path = self.path("deposit")
        call_wsgi(
            self.express, path, b'{"amount": 5}', HTTP_IDEMPOTENCY_KEY=str(uuid.uuid4())
        )
        self.long([item(self.alice)])
        self.short([item(self.alice)])


class PlainItemsTest(SimpleTestCase):
    """Items are read at once…"""

    def test_as_they_are_one_by_one(self) -> None:
        items = [item(Wallet(), n) for n in (1, MAX_MONEY, MAX_MONEY + 1, 2**63)]
        for body in (json.dumps(items), json.dumps(items, indent=3), "[]", " [ ] "):
            read = [read_item(one) for one in strict_json.loads(body.encode())]
            self.assertEqual(
                read_plain_items(body.encode()), [tuple(one.values()) for one in read]
            )

    def test_only_if_nothing_is_wrong_with_any(self) -> None:
        good = json.dumps(item(Wallet()))
        for old, new in (
            ('"amount": 5', '"amount": 5.0'),
            ('"amount": 5', '"amount": 5e0'),
            ('"amount": 5', '"amount": -0'),
            ('"amount": 5', '"amount": 0'),
            ('"amount": 5', '"amount": -5'),
            ('"amount": 5', '"amount": "5"'),
            ('"amount": 5', '"amount": true'),
            ('"amount": 5', '"amount": null'),
            ('"amount": 5', '"amount": NaN'),
            ('"amount": 5', '"amount": 05'),
            ('"amount": 5', '"amount": 1' + "0" * 30),
            ('"amount": 5', '"amount": 5, "amount": 5'),
            ('"amount": 5', r'"amount": 6, "\u0061mount": 5'),
            ('"amount": 5', '"amount": 5, "x": 1'),
            ('"amount": 5', '"amount": {"a": 5}'),
            ('"amount": 5', '"amount" 5'),
            ('"amount": 5', '"amonut": 5'),
            ('"amount": 5, ', ""),
            ('"wallet": "', '"wallet": "{'),
            ('"wallet": "', '"wallet": " '),
            ('"wallet": "', '"wallet": ["'),
            ('"idempotency_key": "', '"idempotency_key": "urn:uuid:'),
            ('"idempotency_key": "', '"idempotency_key": 5, "x": "'),
            ("}", ""),
            ("}", "}}"),
            ("}", "},"),
        ):
            bad = good.replace(old, new)
            self.assertNotEqual(bad, good)
            for text in (f"[{bad}]", f"[{good}, {bad}]", f"[{bad}, {good}]"):
                with self.subTest(text):
                    self.assertIsNone(read_plain_items(text.encode()))

    def test_only_from_an_array_of_objects(self) -> None:
        good = json.dumps(item(Wallet()))
        for text in (
            *("", "null", "5", '"x"', "{}", good, "[5]", '["x"]', "[null]", "[[]]"),
            *(
                f'{{"a": {good}}}',
                f"[[{good}]]",
                f"[{good}]]",
                f"[{good}] x",
                "[" * 9999,
            ),
            *(f"[{good}, 5]", f"\ufeff[{good}]"),
        ):
            with self.subTest(text[:60]):
                self.assertIsNone(read_plain_items(text.encode()))
        self.assertIsNone(read_plain_items(f"[{good}]\xff".encode("latin-1")))

    def test_without_a_name_that_stands_twice(self) -> None:
        """Its colon is seen, even if that of another one is missing."""
        twice = json.dumps(item(Wallet())).replace('"amount"', '"amount": 7, "amount"')
        less = json.dumps({k: v for k, v in item(Wallet()).items() if k != "amount"})
        self.assertIsNone(read_plain_items(f"[{twice}, {less}]".encode()))

    def test_with_wallets_in_their_one_form(self) -> None:
        wallet = str(uuid.uuid4()).upper()
        body = json.dumps([item(Wallet()) | {"wallet": wallet}]).encode()
        self.assertIsNone(read_plain_items(body))

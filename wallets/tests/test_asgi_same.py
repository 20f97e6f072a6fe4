"""WSGI and ASGI: both transports answer every request with the same bytes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock
from urllib.parse import quote

from django.conf import settings as service
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wallets.models.transaction import Transaction
from wallets.services.transfers.transfer import transfer
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase
from wallets.utils import request_metrics
from wallets.views.http import request_log

METHODS = st.sampled_from(
    ["GET", "GET", "POST", "POST", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"]
)
PATHS = st.sampled_from(
    [
        *["{alice}deposit"] * 4,
        *["{alice}withdraw"] * 3,
        *["{alice}", "{alice}transactions/", "{alice}statement/", "{alice}balance/"],
        *["{alice}transactions/{made}/", "{alice}transactions/{made}/cancel"],
        *["{alice}transactions/{made}/corrections/"] * 2,
        *["{alice}freeze", "{alice}unfreeze/", "{bob}close", "/transactions/"],
        *["{alice}deposit/", "{alice}transactions/1/", "{alice}transactions/0/"],
        *["{bob}transactions/{made}/", "{alice}nothing", "{nobody}", "{nobody}deposit"],
        *[
            "/wallets/",
            "/deposits/",
            "/transfers/",
            "/transfers/",
            "/transfers/{key}/",
            "/transfers/{transfer}/",
            *["{alice}transactions/{planned}/reschedule"] * 2,
            *["{alice}transactions/{made}/reschedule", "/events/", "/events/"],
            *["/webhooks/", "/webhooks/{key}/", "/webhooks/{key}/deliveries/"],
            "/wallets/x/deposit",
            "/healthz",
            "/",
            "/problems/",
        ],
        *[
            "{alice}transactions/9223372036854775808/",
            "{alice}%64eposit",
            "{alice}\u00fc",
        ],
        *["/%ff", "/wallets/%ff/", "{alice}%ED%A0%80", "{alice}deposit%C0%AF"],
        *["/wallets%ff/", "/events/%E2%82", "{alice}a%00", "/problems/%FE"],
        *["/problems/required", "{alice}a+b", "/webhooks/{key}%ff/deliveries/"],
    ]
)
AMOUNTS = st.sampled_from(
    ["1", "1", "5", "0", "-1", "1.0", "1e3", '"1"', "true", "null", "10" + "0" * 15]
)
TIMES = st.sampled_from(
    [
        "2030-01-31T12:00:00Z",
        "2030-01-31T12:00:00+01:00",
        "2030-01-31",
        "2001-01-01T00:00:00Z",
    ]
)
BODIES = st.one_of(
    st.just(""),
    st.just("{}"),
    st.builds('{{"amount":{}}}'.format, AMOUNTS),
    st.builds('{{"amount":{},"scheduled_for":"{}"}}'.format, AMOUNTS, TIMES),
    st.builds('{{"scheduled_for":"{}"}}'.format, TIMES),
    st.builds('{{"amount":{0},"amount":{0}}}'.format, AMOUNTS),
    st.builds(
        '[{{"wallet":"{{alice}}","amount":{},"idempotency_key":"{{key}}"}}]'.format,
        AMOUNTS,
    ),
    st.builds(
        '{{"amount":{},"description":"a","metadata":{{"b":"c"}}}}'.format, AMOUNTS
    ),
    st.sampled_from(
        [
            '{"direction":"in","reason":"x"}',
            '{"direction":"out","reason":"\\u202e"}',
            '{"reason":"x"}',
            '{"metadata":{"a":"b"},"reference":null}',
            '{"currency":"EUR","reference":" x"}',
        ]
    ),
    st.builds('{{"from":"{{payer}}","to":"{{payee}}","amount":{}}}'.format, AMOUNTS),
    st.builds(
        '[{{"from":"{{payer}}","to":"{{payee}}","amount":{},'
        '"idempotency_key":"{{key}}"}}]'.format,
        AMOUNTS,
    ),
    st.sampled_from(["[]", "[1]", "nonsense", '{"amount":1,"more":2}', "x" * 20_000]),
)
KEYS = st.sampled_from(
    [None, "{key}", '"{key}"', "{used}", "{UPPER}", "", "x", "{key}, {key}"]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from(
            [
                "*/*",
                "text/csv",
                "text/html",
                "application/json;q=0",
                "text/csv;q=0.5,*/*",
            ]
        ),
        "x-idempotency-key": st.just("{key}"),
        "content-encoding": st.sampled_from(["gzip", "identity"]),
        "host": st.sampled_from(
            ["localhost", "evil.example.com", "localhost:8000", "%"]
        ),
        "x-forwarded-proto": st.just("https"),
        "cookie": st.sampled_from(["a=b", "csrftoken=x"]),
    },
)
# Each parameter of each list, and some that none has.
NAMES = st.sampled_from(
    [
        *["limit", "cursor", "status", "type", "from", "to", "at", "state", "currency"],
        *["reference", "bank_reference", "failure_code", "after", "wallet", "format"],
        *["amount_from", "amount_to", "balance_from", "balance_to", "created_from"],
        *["created_to", "scheduled_from", "scheduled_to"],
        *["x", "", "%ff", "%00", "%ED%A0%80", "+", "%2B", "\u00fc", "_method"],
    ]
)
# What no parameter takes: no UTF-8, NUL, control characters, forms of encodings.
HOSTILE = st.one_of(
    st.sampled_from(
        [
            *["%ff", "%C0%AF", "%ED%A0%80", "%E2%82", "%F5%80%80%80", "%00", "a%00"],
            *["%", "%zz", "%u0041", "+", "%2B", "%26", "%3D", "=", ";", "%0d%0a", ""],
            *["\u00fc", "\ufffd", "%EF%BF%BD", "%e2%80%ae", "9" * 400, "-0", "1e3"],
        ]
    ),
    st.binary(max_size=6).map(quote),
)
QUERIES = st.one_of(
    st.just(""),
    st.lists(
        st.sampled_from(
            [
                *["limit=1", "limit=0", "limit=1000", "cursor=x", "status=PENDING"],
                *["status=pending", "type=DEPOSIT", "from=2020-01-01T00:00:00Z"],
                *["to=2019-01-01T00:00:00Z", "at=now", "at=2030-01-01T00:00:00Z"],
                *["state=active", "balance_from=1", "amount_to=5", "currency=IRR"],
                *["format=json", "created_from=2020-01-01T00:00:00Z", "x=%ff", "%00=1"],
                *["reference=%00", "x=%00", "after=1", "after=-1", "reference=a"],
            ]
        ),
        max_size=2,
    ).map("&".join),
    st.lists(st.builds("{}={}".format, NAMES, HOSTILE), max_size=3).map("&".join),
)
TYPES = st.sampled_from(
    ["application/json"] * 4 + ["application/json; charset=utf-8", "text/plain", ""]
)
REQUESTS = st.fixed_dictionaries(
    {
        "method": METHODS,
        "path": PATHS,
        "query": QUERIES,
        "body": BODIES,
        "key": KEYS,
        "content_type": TYPES,
        "headers": HEADERS,
    }
)
# What differs between two answers to the same request.
_OWN = re.compile(
    r'(?:"id":\d+|/transactions/\d+/|\d{4}-\d\d-\d\dT[\d:.]+Z'
    r'|"(?:from|to)_transaction":\d+'
    r"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|cursor=[\w.%-]+)"
)


# As the settings have them with METRICS_ENABLED.
COUNTED = {
    "METRICS_ENABLED": True,
    "MIDDLEWARE": ["wallets.views.metrics.count_requests", *service.MIDDLEWARE],
}


@marks.slow
@override_settings(**COUNTED)
class SameAnswerTest(WalletTestCase):
    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.clients = [
            client(raise_request_exception=False) for client in (Client, AsgiClient)
        ]
        self.deposit(100)
        self.made = Transaction.objects.latest("pk")
        self.planned = WithdrawalService.schedule(self.alice.uuid, 1, self.after(9e6))
        self.transfer = transfer(self.alice.uuid, self.bob.uuid, 1)

    def test_is_given_whatever_is_asked(self) -> None:
        @settings(
            max_examples=150,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(REQUESTS, st.sampled_from([1, 1, 2]))
        def compare(request: dict[str, Any], times: int) -> None:
            one, other = self.answers(times, **request)
            self.assertEqual(one, other, request)

        compare()

    def test_is_given_about_readiness(self) -> None:
        asked = {"path": "/readyz", "body": "", "key": None, "content_type": ""}
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            for query, headers in (("", {}), ("", {"accept": "text/csv"}), ("x=1", {})):
                one, other = self.answers(
                    1, method=method, query=query, headers=headers, **asked
                )
                self.assertEqual(one, other, (method, query, headers))

    def test_is_given_to_bytes_that_are_no_utf_8(self) -> None:
        asked = {"method": "GET", "body": "", "key": None, "content_type": ""}
        lists = ("/wallets/", "/transactions/", "{alice}statement/", "/events/", "/")
        requests = [
            (path, query, headers)
            for path in lists
            for query in ("limit=%ff", "%C0%AF=1", "reference=\u00fc", "x=%ED%A0%80")
            for headers in ({}, {"accept": "text/csv"})
        ]
        requests += [
            (path, "", {})
            for path in ("/%ff", "{alice}%C0%AF", "/wallets%ff/", "/problems/%FE")
        ]
        for path, query, headers in requests:
            with self.subTest(path, query=query, headers=headers):
                one, other = self.answers(
                    1, path=path, query=query, headers=headers, **asked
                )
                self.assertEqual(one, other)
                self.assertIn(one[0], (200, 400, 404, 406))

    def test_has_the_same_line_of_the_log_and_the_same_count(self) -> None:
        asked = [
            ("POST", f"/wallets/{self.alice.uuid}/deposit", b'{"amount":1}'),
            ("POST", f"/wallets/{self.alice.uuid}/deposit/", b"x"),
            ("GET", "/transactions/?reference=%00", b""),
            ("GET", "/events/?x=%00", b""),
            ("PUT", "/webhooks/", b""),
            ("GET", f"/wallets/{self.alice.uuid}/statement/", b""),
            ("GET", "/wallets/nothing", b""),
            ("GET", "/wallets/%ff", b""),
            ("GET", "/%C0%AF?%ff", b""),
            ("GET", "/healthz", b""),
            ("GET", "/healthz?x=%00", b""),
            ("GET", "/readyz", b""),
        ]
        asked = [(*one, cookie) for one in asked for cookie in ("", "csrftoken=x")]
        found = []
        for client in self.clients:
            for method, path, body, cookie in asked:
                client.cookies.clear()
                headers = {"cookie": cookie} if cookie else {}
                with self.assertLogs(request_log.logger, "DEBUG") as lines:
                    counted = self.counted(
                        partial(
                            client.generic,
                            *(method, path, body, "application/json"),
                            headers=headers,
                        )
                    )
                (line,) = lines.records
                told = line.levelno, line.method, line.path, line.status
                found.append((told, counted))
        wsgi, asgi = found[: len(asked)], found[len(asked) :]
        for request, one, other in zip(asked, wsgi, asgi, strict=True):
            with self.subTest(request):
                self.assertEqual(one, other)
                self.assertEqual(len(one[1]), 1)

    def counted(self, ask: Callable[[], Any]) -> list[tuple[str, ...]]:
        """Return the labels of the requests that the call counts."""
        with mock.patch.object(request_metrics, "REQUESTS") as counter:
            ask()
        return [call.args for call in counter.labels.call_args_list]

    def answers(
        self,
        times: int,
        *,
        method: str,
        path: str,
        query: str,
        body: str,
        key: str | None,
        content_type: str,
        headers: dict[str, str],
    ) -> list[tuple[Any, ...]]:
        """Return each transport's last answer to the repeated request."""
        sent = headers if key is None else headers | {"idempotency-key": key}
        answers = []
        for client in self.clients:
            # Each transport has its own key, so that the second does not get a replay.
            names = self.names()
            asked = {name: self.fill(value, names) for name, value in sent.items()}
            for _ in range(times):
                # A cookie of an earlier answer would send this request to Django.
                client.cookies.clear()
                answer = client.generic(
                    method,
                    self.fill(path, names) + (f"?{query}" if query else ""),
                    self.fill(body, names).encode(),
                    content_type=content_type,
                    headers=asked,
                )
            answers.append(self.told(answer))
        return answers

    def names(self) -> dict[str, str]:
        key = str(uuid.uuid4())
        return {
            "alice": f"/wallets/{self.alice.uuid}/",
            "bob": f"/wallets/{self.bob.uuid}/",
            "nobody": f"/wallets/{uuid.UUID(int=7)}/",
            "payer": str(self.alice.uuid),
            "payee": str(self.bob.uuid),
            "made": str(self.made.pk),
            "planned": str(self.planned.pk),
            "transfer": str(self.transfer.uuid),
            "used": str(self.made.idempotency_key),
            "key": key,
            "UPPER": key.upper(),
        }

    def fill(self, text: str, names: dict[str, str]) -> str:
        for name, value in names.items():
            if '"wallet"' in text and name == "alice":
                value = str(self.alice.uuid)
            text = text.replace("{" + name + "}", value)
        return text

    def told(self, answer: Any) -> tuple[Any, ...]:
        headers = {
            name.lower(): _OWN.sub("#", value)
            for name, value in answer.headers.items()
            if name.lower() not in (request_log.HEADER.lower(), "content-length")
        }
        content = b"".join(answer) if answer.streaming else answer.content
        text = _OWN.sub("#", content.decode())
        return answer.status_code, headers, re.sub(r'"balance[a-z_]*":\d+', "#", text)

"""Every kind of bad input, by its row in the project's table of bad inputs.

Each is refused with a problem that names its field and shows no internals. It writes
nothing, and the idempotency key stays free for a correct request.
"""

# ruff: noqa: RUF001 (digits of other scripts are the point)

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings

from wallets.models.base import MAX_MONEY
from wallets.tests import marks
from wallets.tests.api import FUTURE, Api, nothing_written
from wallets.tests.base import WalletTestCase

# Row, the text of the amount in the JSON, and the code of the refusal.
AMOUNTS: list[tuple[int, str, str]] = [
    (27, "null", "amount_invalid"),
    (27, '""', "amount_invalid"),
    (27, '"  "', "amount_invalid"),
    (28, "0", "amount_invalid"),
    (29, "-1", "amount_invalid"),
    (29, "-0", "amount_invalid"),
    (29, "-1000000000000000000000000000000", "amount_invalid"),
    (30, "1.0", "amount_invalid"),
    (31, "1e3", "amount_invalid"),
    (31, "1E3", "amount_invalid"),
    (32, "1.5", "amount_invalid"),
    (32, "0.1", "amount_invalid"),
    (32, "1e-7", "amount_invalid"),
    (32, "0.30000000000000004", "amount_invalid"),
    (33, "1e22", "amount_invalid"),
    (33, "1e400", "amount_invalid"),
    (34, "true", "amount_invalid"),
    (34, "false", "amount_invalid"),
    (35, '"100"', "amount_invalid"),
    (35, '" 100 "', "amount_invalid"),
    (35, '"+5"', "amount_invalid"),
    (35, '"1.0"', "amount_invalid"),
    (36, '"1_000"', "amount_invalid"),
    (37, '"١٢"', "amount_invalid"),
    (37, '"１２"', "amount_invalid"),
    (38, '"0x10"', "amount_invalid"),
    (38, '"1,000"', "amount_invalid"),
    (38, '"--5"', "amount_invalid"),
    (38, '"1e3"', "amount_invalid"),
    (38, '"100 EUR"', "amount_invalid"),
    (39, str(MAX_MONEY + 1), "amount_too_large"),
    (39, str(2**53 + 1), "amount_too_large"),
    (39, str(2**63 - 1), "amount_too_large"),
    (39, str(2**63), "amount_too_large"),
    (39, str(10**30), "amount_too_large"),
    (39, "9" * 5000, "amount_invalid"),
    (39, "-" + "9" * 5000, "amount_invalid"),
    (40, "[]", "amount_invalid"),
    (40, "{}", "amount_invalid"),
    (40, "[100]", "amount_invalid"),
]

# Row, and the text of the time in the JSON.
TIMES: list[tuple[int, str]] = [
    (42, "null"),
    (42, '""'),
    (43, '"2030-01-01T00:00:00"'),
    (43, '"2030-01-01"'),
    (43, '"2030-01-01T00:00Z"'),
    (43, '"2030-01-01 00:00:00Z"'),
    (43, '" 2030-01-01T00:00:00Z"'),
    (43, '"2030-01-01T00:00:00Z\\n"'),
    (43, '"20300101T000000Z"'),
    (43, '"2030-W01-1T00:00:00Z"'),
    (44, '"2030-02-30T00:00:00Z"'),
    (44, '"2030-13-01T00:00:00Z"'),
    (44, '"2030-01-01T24:00:00Z"'),
    (44, '"2030-06-30T23:59:60Z"'),
    (44, '"2030-01-01T00:60:00Z"'),
    (44, '"2030-01-01T00:00:00+24:00"'),
    (44, '"2030-01-01T00:00:00+99:99"'),
    (44, '"2030-01-01T00:00:00+01:60"'),
    (44, '"2030-01-01T00:00:00-00:99"'),
    (44, '"2030-01-01T00:00:00+0100"'),
    (44, '"2030-01-01T00:00:00+01"'),
    (44, '"2030-01-01T00:00:00.Z"'),
    (44, '"2030-01-01T00:00:00,5Z"'),
    (44, '"2030-01-01T00:00:00.1234567890Z"'),
    (45, '"9999-12-31T23:59:59-12:00"'),
    (45, '"0001-01-01T00:00:00+14:00"'),
    (46, '"10000-01-01T00:00:00Z"'),
    (46, '"0000-01-01T00:00:00Z"'),
    (46, '"-2030-01-01T00:00:00Z"'),
    (46, '"+2030-01-01T00:00:00Z"'),
    (49, "1900000000"),
    (49, "1900000000.5"),
    (49, '"1900000000"'),
    (49, '"now"'),
    (49, "true"),
    (49, "[]"),
    (49, "{}"),
    (49, '"２０３０-01-01T00:00:00Z"'),
]

# Row, body, HTTP status and code.
BODIES: list[tuple[int, bytes, int, str]] = [
    (16, b"", 400, "body_required"),
    (16, b" ", 400, "json_invalid"),
    (17, b"null", 400, "json_invalid"),
    (17, b"5", 400, "json_invalid"),
    (17, b'"x"', 400, "json_invalid"),
    (17, b"[]", 400, "json_invalid"),
    (17, b"[{}]", 400, "json_invalid"),
    (17, b"true", 400, "json_invalid"),
    (18, b'{"amount": 1', 400, "json_invalid"),
    (18, b'{"amount": 1} x', 400, "json_invalid"),
    (18, b'{"amount": 1}{"amount": 1}', 400, "json_invalid"),
    (18, b'{"amount": 1} // one', 400, "json_invalid"),
    (18, b"{'amount': 1}", 400, "json_invalid"),
    (18, b'{"amount": 1,}', 400, "json_invalid"),
    (18, b"{amount: 1}", 400, "json_invalid"),
    (18, b'{"amount": 01}', 400, "json_invalid"),
    (18, b'{"amount": +1}', 400, "json_invalid"),
    (18, b'{"amount": 0x10}', 400, "json_invalid"),
    (18, b'{"amount": \xc2\xb9}', 400, "json_invalid"),
    (18, b'{"amount": "\n"}', 400, "json_invalid"),
    (18, b'\xef\xbb\xbf{"amount": 1}', 400, "json_invalid"),
    (18, b'{"amount": "\xff"}', 400, "json_invalid"),
    (18, b'{"amount": "\xed\xa0\x80"}', 400, "json_invalid"),
    (18, '{"amount": 1}'.encode("utf-16"), 400, "json_invalid"),
    (18, '{"amount": 1}'.encode("utf-16-le"), 400, "json_invalid"),
    (23, b'{"amount": 1, "amount": 1000000}', 400, "json_invalid"),
    (23, b'{"amount": 1, "am\\u006funt": 1}', 400, "json_invalid"),
    (25, b"[" * 8000, 400, "json_invalid"),
    (25, b'{"amount":' * 1600, 400, "json_invalid"),
    (25, b'{"a":' * 17 + b"1" + b"}" * 17, 400, "json_invalid"),
    (25, b"[" * 100_000, 413, "content_too_large"),
    (26, b'{"amount": 1}' + b" " * 17_000, 413, "content_too_large"),
    (26, b'{"amount": 1}' + b" " * 3_000_000, 413, "content_too_large"),
    (33, b'{"amount": NaN}', 400, "json_invalid"),
    (33, b'{"amount": Infinity}', 400, "json_invalid"),
    (33, b'{"amount": -Infinity}', 400, "json_invalid"),
    (51, b'{"amount": "\\u0000"}', 400, "json_invalid"),
    (51, b'{"amount": 1, "\\u0000": 1}', 400, "json_invalid"),
    (52, b'{"amount": "\\ud800"}', 400, "json_invalid"),
    (52, b'{"amount": 1, "\\udfff": 1}', 400, "json_invalid"),
    (52, b'{"amount": "\\ude00\\ud83d"}', 400, "json_invalid"),
]

# Row, and the content type of a valid body.
MEDIA_TYPES: list[tuple[int, str]] = [
    (19, "application/json; charset=latin-1"),
    (19, "application/json; charset=utf-16"),
    (20, ""),
    (20, "text/plain"),
    (20, "application/xml"),
    (20, "text/json"),
    (20, "application/problem+json"),
    (20, "application/json, text/plain"),
    (20, "application/json; boundary=x"),
    (20, "application/jsonx"),
    (20, "*/*"),
    (21, "application/x-www-form-urlencoded"),
    (21, "multipart/form-data; boundary=x"),
]

KEY = "550e8400-e29b-41d4-a716-446655440000"
KEYS: list[str] = [
    "",
    " ",
    "abc",
    f"{KEY},{KEY}",
    f"{KEY}, {KEY}",
    f'"{KEY}", "{KEY}"',
    f'"{KEY}',
    f'{KEY}"',
    f"'{KEY}'",
    f'""{KEY}""',
    f'"{KEY}";a=1',
    f"{{{KEY}}}",
    f"urn:uuid:{KEY}",
    KEY.replace("-", ""),
    KEY[:-1],
    KEY + "0",
    KEY[:-1] + "g",
    KEY[:-1] + "٣",
    KEY[:-1] + "３",
    f"{KEY}\x00",
    f"{KEY}\n",
    f"{KEY}\x7f",
    f"é{KEY}",
    "550e8400_e29b_41d4_a716_446655440000",
    "x" * 5000,
]

UNKNOWN_FIELDS = ["amonut", "status", "balance", "id", "__proto__", "", "Amount"]

# Row, the query of the list, code and parameter.
QUERIES: list[tuple[int, str, str, str]] = [
    (59, "limit=-1", "parameter_invalid", "limit"),
    (59, "limit=0", "parameter_invalid", "limit"),
    (59, "limit=101", "parameter_invalid", "limit"),
    (59, "limit=abc", "parameter_invalid", "limit"),
    (59, "limit=100000000000000000000", "parameter_invalid", "limit"),
    (59, "limit=" + "9" * 5000, "parameter_invalid", "limit"),
    (59, "limit=", "parameter_invalid", "limit"),
    (59, "limit", "parameter_invalid", "limit"),
    (59, "limit=1.0", "parameter_invalid", "limit"),
    (59, "limit=01", "parameter_invalid", "limit"),
    (59, "limit=%2B1", "parameter_invalid", "limit"),
    (59, "limit=1%0A", "parameter_invalid", "limit"),
    (59, "limit=%D9%A1", "parameter_invalid", "limit"),
    (60, "offset=-5", "parameter_unknown", "offset"),
    (60, "offset=9223372036854775808", "parameter_unknown", "offset"),
    (60, "page=0", "parameter_unknown", "page"),
    (62, "q=%00", "parameter_unknown", "q"),
    (62, "status=%00", "parameter_invalid", "status"),
    (62, "type=DEPOSIT%00", "parameter_invalid", "type"),
    (63, "ref=nope", "parameter_unknown", "ref"),
    (63, "ref=", "parameter_unknown", "ref"),
    (63, "n=1e3", "parameter_unknown", "n"),
    (63, "id=1", "parameter_unknown", "id"),
    (63, "amount__gte=1", "parameter_unknown", "amount__gte"),
    (64, "status=FOO", "parameter_invalid", "status"),
    (64, "status=", "parameter_invalid", "status"),
    (64, "status=pending", "parameter_invalid", "status"),
    (64, "status=PENDING,FAILED", "parameter_invalid", "status"),
    (64, "type=REFUND", "parameter_invalid", "type"),
    (64, "status=PENDING&status=FAILED", "parameter_repeated", "status"),
    (64, "status=PENDING&status=PENDING", "parameter_repeated", "status"),
    (64, "limit=1&limit=1", "parameter_repeated", "limit"),
    (64, "Status=PENDING", "parameter_unknown", "Status"),
    (64, "=1", "parameter_unknown", ""),
    (64, "%ED%A0%80=1", "parameter_unknown", "%ED%A0%80"),
]

# Paths below /wallets/; {uuid} is Alice's wallet, {id} one of her deposits.
PATHS: list[tuple[int, str]] = [
    (7, "/wallets/1/"),
    (7, "/wallets/1"),
    (7, "/wallets/abc/"),
    (7, "/wallets/%00/"),
    (7, "/wallets/{UUID}/"),
    (7, "/wallets/%7B{uuid}%7D/"),
    (7, "/wallets/urn:uuid:{uuid}/"),
    (7, "/wallets/{hex}/"),
    (7, "/wallets/{uuid}%0A/"),
    (7, "/wallets/{uuid}/%0A"),
    (7, "/wallets/%20{uuid}/"),
    (7, "/wallets/{uuid}%00/"),
    (70, "/wallets//"),
    (70, "/wallets//{uuid}/"),
    (70, "/wallets/{uuid}//deposit"),
    (70, "/wallets/{uuid}/deposit//"),
    (70, "/wallets/../wallets/"),
    (70, "/wallets/%2e%2e/wallets/"),
    (70, "/wallets"),
    (70, "/wallets/{uuid}"),
    (70, "/wallets/{uuid}/transactions"),
    (70, "/wallets/{uuid}/transactions/{id}"),
    (70, "/wallets/{uuid}/transactions//{id}/"),
    (70, "/Wallets/"),
    (70, "/wallets/{uuid}/Deposit"),
    (70, "/%FF"),
]


class BadInputTest(Api, WalletTestCase):
    """The API…"""

    def setUp(self) -> None:
        super().setUp()
        self.key = uuid.uuid4()

    def tearDown(self) -> None:
        """After every refusal, a correct request with the same key has its effect."""
        response = self.post(self.path("deposit"), {"amount": 1}, key=self.key)
        self.assertEqual(response.status_code, 200, response.content)
        self.assertNotIn("Idempotent-Replayed", response.headers)
        super().tearDown()

    def right_body(self, action: str, amount: str = "1", time: str = "") -> str:
        time = time or f'"{FUTURE}"'
        schedule = f', "scheduled_for": {time}' if action == "withdraw" else ""
        return f'{{"amount": {amount}{schedule}}}'

    def refuse(
        self,
        action: str,
        body: bytes | str,
        status: int,
        code: str,
        field: str | None = None,
        **options: Any,
    ) -> None:
        """Check that a request with a key is refused, and writes nothing."""
        with nothing_written():
            response = self.post(self.path(action), body, key=self.key, **options)
        self.assert_problem(response, status, code, field)

    def each(self, rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
        """Yield each row of a table with both endpoints that move money."""
        for action in ("deposit", "withdraw"):
            for row in rows:
                with self.subTest(action=action, row=row[0], sent=str(row[1])[:40]):
                    yield (action, *row)

    def test_refuses_amounts_that_are_no_positive_integer_within_the_limit(
        self,
    ) -> None:
        for action, _row, amount, code in self.each(AMOUNTS):
            body = self.right_body(action, amount)
            self.refuse(action, body, 400, code, "amount")

    def test_refuses_a_missing_amount(self) -> None:
        self.refuse("deposit", "{}", 400, "required", "amount")
        body = f'{{"scheduled_for": "{FUTURE}"}}'
        self.refuse("withdraw", body, 400, "required", "amount")

    def test_refuses_times_that_are_no_instant(self) -> None:
        for row, time in TIMES:
            with self.subTest(row=row, time=time):
                body = self.right_body("withdraw", time=time)
                code = "scheduled_for_invalid"
                self.refuse("withdraw", body, 400, code, "scheduled_for")

    def test_refuses_a_missing_time(self) -> None:
        self.refuse("withdraw", '{"amount": 1}', 400, "required", "scheduled_for")

    def test_refuses_bodies_that_are_not_one_bounded_strict_object(self) -> None:
        for action, _row, body, status, code in self.each(BODIES):
            self.refuse(action, body, status, code)

    def test_refuses_other_media_types(self) -> None:
        for action, _row, content_type in self.each(MEDIA_TYPES):
            self.refuse(
                action,
                self.right_body(action),
                415,
                "unsupported_media_type",
                content_type=content_type,
            )

    def test_refuses_encoded_bodies(self) -> None:
        """Row 22."""
        for encoding in ("gzip", "deflate", "br", "GZIP", "identity, gzip", ""):
            with self.subTest(encoding=encoding):
                self.refuse(
                    "deposit",
                    self.right_body("deposit"),
                    415,
                    "unsupported_media_type",
                    Content_Encoding=encoding,
                )

    def test_refuses_unknown_fields(self) -> None:
        """Row 24."""
        for action in ("deposit", "withdraw"):
            for name in UNKNOWN_FIELDS:
                with self.subTest(action=action, name=name):
                    body = json.loads(self.right_body(action)) | {name: 1}
                    self.refuse(action, json.dumps(body), 400, "unknown_field", name)

    @marks.slow
    def test_answers_a_thousand_unknown_fields_briefly(self) -> None:
        body = json.dumps({f"field-{number}": 1 for number in range(1000)})
        response = self.post(self.path("deposit"), body)
        problem = self.assert_problem(response, 400, "invalid_request")
        self.assertEqual(len(problem["errors"]), 10)
        response = self.post(self.path("deposit"), {"amount": 1, "x" * 9000: 1})
        self.assertLess(len(response.content), 1000)

    def test_refuses_malformed_idempotency_keys(self) -> None:
        """Row 8. WSGI joins a repeated header with a comma."""
        for action in ("deposit", "withdraw"):
            for key in KEYS:
                with self.subTest(action=action, key=key[:50]), nothing_written():
                    body = self.right_body(action)
                    response = self.post(self.path(action), body, key=key)
                    self.assert_problem(
                        response, 400, "idempotency_key_invalid", "Idempotency-Key"
                    )

    def test_refuses_queries_that_the_list_does_not_know(self) -> None:
        for row, query, code, name in QUERIES:
            with self.subTest(row=row, query=query[:40]):
                response = self.get(self.path("transactions/") + f"?{query}")
                self.assert_problem(response, 400, code, name)

    def test_refuses_more_than_a_thousand_parameters(self) -> None:
        response = self.get(self.path("transactions/") + "?" + "a&" * 1001)
        self.assert_problem(response, 400, "bad_request")

    def test_refuses_unknown_parameters_everywhere(self) -> None:
        for method, path in [
            ("POST", "/wallets/"),
            ("GET", self.path()),
            ("POST", self.path("deposit")),
            ("POST", self.path("withdraw")),
            ("GET", "/healthz"),
        ]:
            with self.subTest(path=path), nothing_written():
                response = self.call(method, f"{path}?dry_run=1", b"")
                self.assert_problem(response, 400, "parameter_unknown", "dry_run")

    def test_has_no_other_paths_and_redirects_none(self) -> None:
        names = {
            "uuid": str(self.alice.uuid),
            "UUID": str(self.alice.uuid).upper(),
            "hex": self.alice.uuid.hex,
            "id": self.deposit(1).pk,
        }
        for row, template in PATHS:
            path = template.format(**names)
            for method in ("GET", "POST"):
                with self.subTest(row=row, method=method, path=path):
                    with nothing_written():
                        response = self.call(method, path, b'{"amount": 1}')
                    self.assert_problem(response, 404, "not_found")

    def test_refuses_other_methods_and_names_its_own(self) -> None:
        """Row 65."""
        deposit = self.deposit(1)
        one = self.path("transactions", deposit.pk, "")
        read, write = "GET, HEAD, OPTIONS", "POST, OPTIONS"
        for path, allow in [
            ("/wallets/", "GET, POST, HEAD, OPTIONS"),
            (self.path(), "GET, PATCH, HEAD, OPTIONS"),
            (self.path("deposit"), write),
            (self.path("withdraw/"), write),
            (self.path("transactions/"), read),
            (one, read),
            (f"{one}cancel", write),
            (f"{one}reschedule", write),
            (f"{one}reschedule/", write),
            ("/healthz", read),
        ]:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "SPAM"):
                if method in allow:
                    continue
                with self.subTest(method=method, path=path):
                    with nothing_written():
                        response = self.call(method, path, b'{"amount": 1}')
                    self.assert_problem(response, 405, "method_not_allowed")
                    self.assertEqual(response.headers["Allow"], allow)

    def test_ignores_a_body_of_get(self) -> None:
        """Row 65."""
        for body in (b"{", b"[" * 100_000, b"\xff"):
            response = self.call("GET", self.path(), body)
            self.assertEqual(response.status_code, 200)

    def test_ignores_switches_of_other_frameworks(self) -> None:
        """Row 66."""
        with nothing_written():
            response = self.call("POST", self.path(), X_HTTP_Method_Override="GET")
        self.assert_problem(response, 405, "method_not_allowed")
        for query in ("?format=html", "?format=api", "?_method=DELETE"):
            response = self.get(self.path() + query)
            self.assertEqual(response.status_code, 200)
            self.assertEqual(response.headers["Content-Type"], "application/json")
        response = self.post("/wallets/?_method=DELETE")
        self.assertEqual(response.status_code, 201)

    def test_answers_in_json_or_not_at_all(self) -> None:
        """Row 67."""
        for accept in (
            "text/html",
            "image/png",
            "application/json;q=0",
            ";;,",
            "x" * 9000,
        ):
            with self.subTest(accept=accept[:30]), nothing_written():
                response = self.post(self.path("deposit"), {"amount": 1}, Accept=accept)
                self.assert_problem(response, 406, "not_acceptable")
        for accept in (
            "*/*",
            "application/json",
            "text/html, */*;q=0.1",
            "Application/*",
            "application/json; indent=4",
            "",
        ):
            with self.subTest(accept=accept):
                response = self.get(self.path(), Accept=accept)
                self.assertEqual(response.status_code, 200)
                self.assertEqual(response.headers["Content-Type"], "application/json")
                self.assertNotIn(b"\n", response.content)

    def test_ignores_forwarding_headers(self) -> None:
        """Row 68."""
        response = self.post(
            "/wallets/", X_Forwarded_Host="evil.example", X_Forwarded_Proto="https"
        )
        self.assertTrue(response.headers["Location"].startswith("http://testserver/"))

    def test_refuses_another_host(self) -> None:
        """Row 69."""
        for host in (
            "evil.example",
            "",
            "testserver:80:80",
            "[::1",
            "a" * 300,
            "test server",
        ):
            with self.subTest(host=host[:20]), nothing_written():
                response = self.post(self.path("deposit"), {"amount": 1}, Host=host)
                self.assert_problem(response, 400, "bad_request")

    def test_takes_a_body_as_large_as_the_limit(self) -> None:
        body = self.right_body("deposit").ljust(settings.API_MAX_BODY_BYTES)
        self.assertEqual(self.post(self.path("deposit"), body).status_code, 200)
        self.refuse("deposit", body + " ", 413, "content_too_large")

    def test_takes_json_in_utf_8_however_it_is_declared(self) -> None:
        for content_type in (
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "application/json; charset=UTF-8",
            'application/json ; charset="utf-8"',
        ):
            with self.subTest(content_type=content_type):
                response = self.post(
                    self.path("deposit"), {"amount": 1}, content_type=content_type
                )
                self.assertEqual(response.status_code, 200)

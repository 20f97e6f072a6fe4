"""The bank's list of payments over HTTP: bounded, and read tolerantly."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import SimpleTestCase, TestCase, override_settings

from wallets.errors import InsideTransaction, StatementUnavailable
from wallets.tests import fakes, marks
from wallets.tests.peers import Line, Script, TlsPeer, response, trusting
from wallets.tests.test_bank_contract import NEVER, SimulatorTestCase, a_payment
from wallets.tests.test_third_party import PATIENCE, PeerTestCase, bank_at
from wallets.utils import third_party
from wallets.utils.bank import payment_list
from wallets.utils.bank.payment_list import StatementLine, parse

REFERENCE, WALLET = uuid.uuid4(), uuid.uuid4()
LINE = {
    "reference": str(REFERENCE),
    "wallet_uuid": str(WALLET),
    "amount": 5,
    "paid_at": "2026-11-28T22:33:05.123456+00:00",
}
PAID_AT = datetime(2026, 11, 28, 22, 33, 5, 123456, tzinfo=timezone.utc)
READ = StatementLine(REFERENCE, WALLET, 5, PAID_AT)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


class ListTestCase(PeerTestCase):
    def sends(self, data: bytes) -> list[StatementLine]:
        """Return the list that is read from a bank that sends this and closes."""
        return self.read(lambda line: line.send(data))

    def read(self, script: Script) -> list[StatementLine]:
        self.requests: list[bytes] = []

        def after_request(line: Line) -> None:
            self.requests.append(line.read_request())
            script(line)

        self.url = self.peer(after_request).url
        return bank_at(self.url).statement()

    def assert_none(self, data: bytes | Script, why: str) -> None:
        script = data if callable(data) else lambda line: line.send(data)
        with self.assertRaises(StatementUnavailable) as got:
            self.read(script)
        self.assertIn(why, str(got.exception))
        self.assertIn(f"{self.url}/payments", str(got.exception))


class BankListTest(ListTestCase):
    @marks.slow
    def test_is_read_however_it_is_sent(self):
        body = json.dumps([LINE] * 300).encode()
        plain = HEAD + b"\r\n" + body
        for data in (
            response(body),
            plain,
            in_chunks(body, 1000),
            in_chunks(body, 1),
            b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(body),
        ):
            with self.subTest(data[:80]):
                self.assertEqual(self.sends(data), [READ] * 300)

    def test_is_read_over_tls(self):
        body = json.dumps([LINE] * 5000).encode()

        def script(line: Line) -> None:
            line.read_request()
            line.send(in_chunks(body, 5000))

        peer = TlsPeer(script, tickets=2)
        self.addCleanup(peer.stop)
        with mock.patch("ssl.create_default_context", return_value=trusting()):
            bank = bank_at(peer.url)
        self.assertEqual(bank.statement(), [READ] * 5000)

    def test_is_asked_for_unpacked_and_within_a_period(self):
        self.assertEqual(self.sends(response(b"[]")), [])
        head = self.requests[0].decode()
        self.assertTrue(head.startswith("GET /payments HTTP/1.1\r\n"), head)
        self.assertIn("\r\nAccept-Encoding: identity\r\n", head)
        peer = self.answering(response(b"[]"))
        bank = bank_at(peer.url + "/api")
        bank.statement(since=PAID_AT, until=PAID_AT + timedelta(hours=1))
        self.assertTrue(
            peer.requests[0].startswith(
                b"GET /api/payments?from=2026-11-28T22%3A33%3A05.123456Z"
                b"&to=2026-11-28T23%3A33%3A05.123456Z HTTP/1.1\r\n"
            ),
            peer.requests[0],
        )

    def test_is_not_unpacked(self):
        bomb = gzip.compress(b"[" + b" " * 5_000_000 + b"]")
        for encoding in ("gzip", "br", "deflate, gzip"):
            data = response(bomb, headers={"Content-Encoding": encoding})
            self.assert_none(data, "packed")
        fine = response(b"[]", headers={"Content-Encoding": "identity"})
        self.assertEqual(self.sends(fine), [])

    @mock.patch.object(payment_list, "MAX_BYTES", 1000)
    def test_is_read_to_a_limit(self):
        fits, long = b"[" + b" " * 998 + b"]", b"[" + b" " * 999 + b"]"
        for make in (
            response,
            lambda body: HEAD + b"\r\n" + body,
            lambda body: in_chunks(body, 100),
        ):
            self.assertEqual(self.sends(make(fits)), [])
            self.assert_none(make(long), "more than 1000 bytes")

    @mock.patch.object(payment_list, "MAX_BYTES", 1000)
    def test_that_never_ends_is_left_at_the_limit(self):
        gone = threading.Event()

        def endless(line: Line) -> None:
            line.send(HEAD + b"\r\n")
            try:
                while not line.ended.is_set():
                    line.send(b" " * 10_000)
            except OSError:
                gone.set()
                raise

        self.assert_none(endless, "more than 1000 bytes")
        self.assertTrue(gone.wait(PATIENCE))

    def test_that_drips_is_left_at_its_deadline(self):
        time_passes = self.clock()

        def script(line: Line) -> None:
            line.send(HEAD + b"\r\n[")
            time_passes.go_on(payment_list.DEADLINE_SECONDS)
            line.drip(b" " * 100)

        self.assert_none(script, "not whole after 60 seconds")

    def test_that_is_not_available_names_its_address(self):
        page = response(b"<h1>Hello</h1>", headers={"Content-Type": "text/html"})
        for data, why in (
            (response(b"", status="404 Not Found"), "answered HTTP 404"),
            (response(b"[]", status="503 Busy"), "answered HTTP 503"),
            (response(b"", status="302 Moved", headers={"Location": "/"}), "HTTP 302"),
            (page, "no list of payments"),
            (response({"payments": []}), "no list of payments"),
            (response(b"[1]"), "no list of payments"),
            (response(b"[" * 100_000), "no list of payments"),
            (response(b"[]]"), "no list of payments"),
            (response(b"\xff\xfe"), "no list of payments"),
            (b"", "no whole answer"),
            (HEAD + b"Content-Length: 9\r\n\r\n[]", "peer closed connection"),
            (
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[]",
                "peer closed connection",
            ),
            (
                HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[]",
                "illegal chunk header",
            ),
            (
                HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
                "conflicting Content-Length",
            ),
            (b"SSH-2.0-OpenSSH_9\r\n\r\n\r\n", "illegal status line"),
            (b"HTTP/1.1 101 Switching\r\n\r\n", "no whole answer"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "too long"),
        ):
            with self.subTest(data[:80]):
                self.assert_none(data, why)

    def test_is_not_read_before_the_whole_request_is_sent(self):
        """The request is longer than the buffers of both sockets."""
        peer = self.answering(response(b"[]"))
        bank = bank_at(f"{peer.url}/{'long' * 5_000_000}")
        self.assertEqual(bank.statement(), [])

    def test_is_not_read_after_a_redirect_or_through_a_proxy(self):
        other = self.answering(response(b"[]"))
        moved = response(b"", status="302 Moved", headers={"Location": other.url})
        with mock.patch.dict("os.environ", {"HTTP_PROXY": other.url}):
            self.assert_none(moved, "HTTP 302")
        self.assertEqual(other.connections, 0)

    def test_names_the_address_without_credentials(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        bank = bank_at(f"http://user:secret@127.0.0.1:{port}/api?key=secret")
        with self.assertRaises(StatementUnavailable) as got:
            bank.statement()
        said = str(got.exception)
        self.assertIn(f"no answer from http://127.0.0.1:{port}/api/payments: ", said)
        self.assertIn("ConnectionRefusedError", said)
        self.assertNotIn("secret", said)


class CommandTest(SimpleTestCase):
    databases = {"default"}

    @override_settings(THIRD_PARTY_BASE_URL="http://127.0.0.1:9")
    def test_says_in_one_line_which_address_does_not_answer(self):
        third_party._bank_of.cache_clear()
        self.addCleanup(third_party._bank_of.cache_clear)
        with self.assertRaises(CommandError) as got:
            call_command("reconcile_bank")
        self.assertIn("no answer from http://127.0.0.1:9/payments", str(got.exception))


class InsideTransactionTest(TestCase):
    def test_is_not_asked_for(self):
        bank = bank_at("http://127.0.0.1:9")
        with self.assertRaises(InsideTransaction), transaction.atomic():
            bank.statement()


class LineTest(SimpleTestCase):
    """An invalid value in a line counts as missing."""

    def line(self, **fields: Any) -> StatementLine:
        (line,) = parse(json.dumps([LINE | fields]).encode())
        return line

    def test_keeps_what_is_not_ours_as_text(self):
        for said, kept in (
            ("INV-2024-17", "INV-2024-17"),
            (17, "17"),
            ({"a": [1]}, '{"a": [1]}'),
            ("a\x00b\n\ud800", "a�b��"),
            ("x" * 1000, "x" * 99 + "…"),
            ("", ""),
            (None, None),
            (f"{{{REFERENCE}}}", f"{{{REFERENCE}}}"),
            (str(REFERENCE).upper(), REFERENCE),
        ):
            with self.subTest(ascii(said)):
                self.assertEqual(self.line(reference=said).reference, kept)
                self.assertEqual(self.line(wallet_uuid=said).wallet_uuid, kept)

    def test_takes_no_amount_that_is_no_integer(self):
        for said in ("5", 5.0, True, None, [], 10**50):
            with self.subTest(said):
                self.assertIsNone(self.line(amount=said).amount)
        self.assertIsNone(parse(b'[{"amount": NaN}]')[0].amount)
        self.assertIsNone(parse(b'[{"amount": ' + b"9" * 5000 + b"}]")[0].amount)

    def test_takes_no_time_without_an_offset(self):
        for said in ("2026-11-28T22:33:05", "yesterday", 5, None, "2026-02-30T00:00Z"):
            with self.subTest(said):
                self.assertIsNone(self.line(paid_at=said).paid_at)

    def test_takes_nothing_that_is_said_twice(self):
        (line,) = parse(b'[{"amount": 1, "amount": 2, "reference": "a"}]')
        self.assertEqual(line, StatementLine("a", None, None))

    def test_leaves_the_other_lines(self):
        body = json.dumps([LINE, {}, LINE | {"reference": "\x00"}, LINE]).encode()
        read = parse(body)
        self.assertEqual((read[0], read[3], len(read)), (READ, READ, 4))


class SimulatorListTest(SimulatorTestCase, SimpleTestCase):
    databases = {"default"}

    def test_is_what_it_paid_in_the_period(self):
        bank = self.bank_with(fakes.ABLE)
        payments = [a_payment(n) for n in (1, 2, 3)]
        for payment in payments:
            bank.pay(payment, send_before=NEVER)
        lines = bank.statement()[-3:]
        self.assertEqual(
            [(line.reference, line.wallet_uuid, line.amount) for line in lines],
            [(one.reference, one.wallet_uuid, one.amount) for one in payments],
        )
        times = [line.paid_at for line in lines]
        within = bank.statement(since=times[1], until=times[1])
        self.assertEqual(within, lines[1:2])
        self.assertEqual(bank.statement(until=times[0] - timedelta(days=1)), [])

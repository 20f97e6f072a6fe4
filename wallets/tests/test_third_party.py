"""The bank's HTTP client, with servers that misbehave in every way.

An answer that is not documented leaves the outcome unknown. The outcome is "not sent"
only if certainly no byte has left this machine. Every call ends by its deadline.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import select
import signal
import socket
import threading
import uuid
from concurrent.futures import Future, wait
from typing import Any
from unittest import mock

from django.db import transaction
from django.test import SimpleTestCase, TestCase, override_settings

from wallets.errors import InsideTransaction
from wallets.tests import marks
from wallets.tests.clocks import StandingClock
from wallets.tests.peers import (
    PAID,
    REFUSED,
    Line,
    Peer,
    Script,
    TlsPeer,
    response,
    trusting,
)
from wallets.utils import clock, third_party
from wallets.utils.bank import http_calls
from wallets.utils.bank.connections import Connection
from wallets.utils.bank.http_exchange import MAX_BODY_BYTES
from wallets.utils.bank.interface import Abilities, Answer, Outcome, Payment
from wallets.utils.third_party import HttpBank

# A busy machine may pause for seconds: no call with an immediate answer is ended.
PATIENCE = 30
# The deadline of calls that must be ended. A test whose request must be sent before
# uses a clock that stands still until then.
DEADLINE = 0.6
HASTY = {"deadline": DEADLINE, "connect_timeout": DEADLINE / 2}
NEVER = float("inf")

PAYMENT = Payment(
    uuid.UUID("11111111-2222-4333-8444-555555555555"),
    uuid.UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
    400,
)
ECHO = {"reference": str(PAYMENT.reference), "amount": PAYMENT.amount}


def bank_at(url: str, **options: Any) -> HttpBank:
    settings = {
        "abilities": Abilities(),
        "deadline": PATIENCE,
        "connect_timeout": PATIENCE,
        "connections": 8,
    }
    return HttpBank(url, **(settings | options))


class PeerTestCase(SimpleTestCase):
    def peer(self, script: Script) -> Peer:
        peer = Peer(script)
        self.addCleanup(peer.stop)
        return peer

    def answering(self, *answers: bytes, keep: bool = True) -> Peer:
        """Return a peer that gives these answers, one for each request."""
        left = list(answers)
        requests: list[bytes] = []

        def script(line: Line) -> None:
            while request := line.read_request():
                requests.append(request)
                line.send(left.pop(0) if len(left) > 1 else left[0])
                if not keep:
                    return

        peer = self.peer(script)
        peer.requests = requests
        return peer

    def pay(self, bank: HttpBank, payment: Payment = PAYMENT) -> Answer:
        return bank.pay(payment, send_before=NEVER)

    def clock(self) -> StandingClock:
        """Stop the client's clock, and return it."""
        standing = StandingClock()
        standing.start()
        self.addCleanup(standing.stop)
        return standing

    def look_at_the_clock(self, bank: HttpBank) -> None:
        """Let the client's thread read its clock: make a call that is too late."""
        answer = bank.pay(PAYMENT, send_before=clock.elapsed())
        self.assertEqual(answer.outcome, Outcome.NOT_SENT)

    def outcome_of(self, script: Script) -> Answer:
        return self.pay(bank_at(self.peer(script).url))

    def outcome_of_bytes(self, data: bytes) -> Outcome:
        return self.pay(bank_at(self.answering(data).url)).outcome


class DocumentedAnswerTest(PeerTestCase):
    def test_takes_the_banks_own_words(self):
        for body, expected in (
            (PAID, Outcome.ACCEPTED),
            (REFUSED, Outcome.REJECTED),
            (PAID | ECHO, Outcome.ACCEPTED),
            (REFUSED | ECHO, Outcome.REJECTED),
            (PAID | {"wallet_uuid": str(PAYMENT.wallet_uuid)}, Outcome.ACCEPTED),
        ):
            with self.subTest(body=body):
                self.assertEqual(self.outcome_of_bytes(response(body)), expected)

    def test_keeps_the_answer_as_evidence(self):
        peer = self.answering(response(REFUSED))
        answer = self.pay(bank_at(peer.url))
        self.assertEqual(
            (answer.http_status, answer.reason), (200, json.dumps(REFUSED))
        )

    def test_sends_reference_wallet_and_amount_and_nothing_of_ours(self):
        peer = self.answering(response(PAID))
        self.pay(bank_at(peer.url + "/api/"))
        head, _, body = peer.requests[0].partition(b"\r\n\r\n")

        self.assertTrue(head.startswith(b"POST /api/ HTTP/1.1\r\n"), head)
        self.assertIn(f"Idempotency-Key: {PAYMENT.reference}".encode(), head)
        self.assertEqual(
            json.loads(body), ECHO | {"wallet_uuid": str(PAYMENT.wallet_uuid)}
        )
        self.assertNotIn(b"Accept-Encoding: gzip", head)

    def test_looks_up_by_reference(self):
        peer = self.answering(response(PAID | ECHO))
        self.assertEqual(bank_at(peer.url).look_up(PAYMENT).outcome, Outcome.ACCEPTED)
        self.assertIn(f"GET /payments/{PAYMENT.reference} ".encode(), peer.requests[0])


class UnbelievableAnswerTest(PeerTestCase):
    @marks.slow
    def test_stays_unknown_whatever_the_body_says(self):
        bodies: list[bytes | dict[str, Any]] = [
            b"",
            b"null",
            b"[]",
            b"5",
            b'"success"',
            b"{}",
            b"{'data': 'success'}",
            b'{"data": "success", "status": 200',
            b'{"data": "success", "status": 200} and more',
            b'{"data": "failed", "status": 503, "data": "success", "status": 200}',
            b'{"data": "success", "status": 200.0}',
            b'{"data": "success", "status": 2e2}',
            b'{"data": "success", "status": NaN}',
            b'\xff\xfe{"data": "success", "status": 200}',
            b"[" * 10_000,
            b'{"data":' * 5_000,
            {"data": "success", "status": True},
            {"data": "success", "status": "200"},
            {"data": "success", "status": 503},
            {"data": "failed", "status": 200},
            {"data": "SUCCESS", "status": 200},
            {"data": True, "status": 200},
            {"status": 200},
            {"data": "success"},
            {"data": "success", "status": 200, "error": "not really"},
            PAID | {"reference": str(uuid.uuid4())},
            PAID | {"reference": None},
            PAID | {"amount": 401},
            PAID | {"amount": "400"},
            PAID | {"amount": True},
            PAID | {"amount": 400.0},
            PAID | {"wallet_uuid": str(uuid.uuid4())},
            REFUSED | {"amount": 1},
            REFUSED | {"reference": str(uuid.uuid4())},
            {"data": "unknown", "status": 404},
        ]
        for body in bodies:
            with self.subTest(body=body[:60] if isinstance(body, bytes) else body):
                self.assertEqual(self.outcome_of_bytes(response(body)), Outcome.UNKNOWN)

    @marks.slow
    def test_stays_unknown_under_another_http_status(self):
        for status in (
            "201 Created",
            "202 Accepted",
            "204 No Content",
            "206 Partial Content",
            "300 Multiple Choices",
            "304 Not Modified",
            "400 Bad Request",
            "403 Forbidden",
            "407 Proxy Authentication Required",
            "409 Conflict",
            "413 Too Large",
            "429 Too Many Requests",
            "500 Internal Server Error",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "504 Gateway Timeout",
            "999 Nonsense",
        ):
            with self.subTest(status):
                got = self.outcome_of_bytes(response(PAID, status=status))
                self.assertEqual(got, Outcome.UNKNOWN)
                page = response(b"<h1>Sorry</h1>", status=status)
                self.assertEqual(self.outcome_of_bytes(page), Outcome.UNKNOWN)

    def test_stays_unknown_when_it_is_no_json_by_its_own_account(self):
        for kind in ("text/html", "text/plain; charset=utf-8", "application/xml", ""):
            for body in (PAID, REFUSED):
                with self.subTest(kind, body=body):
                    data = response(body, headers={"Content-Type": kind})
                    self.assertEqual(self.outcome_of_bytes(data), Outcome.UNKNOWN)
        for kind in ("application/json; charset=utf-8", "Application/JSON"):
            data = response(PAID, headers={"Content-Type": kind})
            self.assertEqual(self.outcome_of_bytes(data), Outcome.ACCEPTED)

    def test_is_not_unpacked(self):
        packed = gzip.compress(json.dumps(PAID).encode())
        data = response(packed, headers={"Content-Encoding": "gzip"})
        self.assertEqual(self.outcome_of_bytes(data), Outcome.UNKNOWN)

    def test_is_read_to_a_limit(self):
        spaces = b" " * 5_000_000 + json.dumps(PAID).encode()
        self.assertEqual(self.outcome_of_bytes(response(spaces)), Outcome.UNKNOWN)
        fits = b" " * 1000 + json.dumps(PAID).encode()
        self.assertEqual(self.outcome_of_bytes(response(fits)), Outcome.ACCEPTED)

    def test_is_kept_short_and_storable(self):
        peer = self.answering(response(b"\x00\xff" * MAX_BODY_BYTES))
        answer = self.pay(bank_at(peer.url))
        self.assertEqual(answer.outcome, Outcome.UNKNOWN)
        self.assertLessEqual(len(answer.reason), third_party.MAX_REASON)
        self.assertNotIn("\x00", answer.reason)

    def test_stays_unknown_without_an_end(self):
        body = json.dumps(PAID).encode()
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        for name, tail in (
            ("half", b"Content-Length: 999\r\n\r\n" + body),
            ("chunk without end", b"Transfer-Encoding: chunked\r\n\r\n" + chunk),
            ("bad chunk", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body),
            ("no head", b""),
        ):

            def script(line: Line, tail: bytes = tail) -> None:
                line.read_request()
                line.send(head + tail if tail else b"")

            with self.subTest(name):
                self.assertEqual(self.outcome_of(script).outcome, Outcome.UNKNOWN)

    def test_stays_unknown_when_it_is_no_http(self):
        for data in (b"SSH-2.0-OpenSSH_9\r\n", b"\x00" * 100, b"HTTP/1.1 OK\r\n\r\n"):

            def script(line: Line, data: bytes = data) -> None:
                line.read_request()
                line.send(data)

            with self.subTest(data):
                self.assertEqual(self.outcome_of(script).outcome, Outcome.UNKNOWN)


class RedirectTest(PeerTestCase):
    def test_is_not_followed(self):
        other = self.answering(response(PAID))
        for code in (301, 302, 303, 307, 308):
            data = response(
                b"", status=f"{code} Moved", headers={"Location": other.url + "/"}
            )
            with self.subTest(code):
                self.assertEqual(self.outcome_of_bytes(data), Outcome.UNKNOWN)
        self.assertEqual(other.connections, 0)

    def test_of_a_look_up_is_not_followed(self):
        other = self.answering(response(PAID))
        moved = response(b"", status="302 Moved", headers={"Location": other.url})
        answer = bank_at(self.answering(moved).url).look_up(PAYMENT)
        self.assertEqual(answer.outcome, Outcome.UNKNOWN)
        self.assertEqual(other.connections, 0)

    def test_retry_after_is_not_obeyed(self):
        peer = self.answering(
            response(b"", status="503 Busy", headers={"Retry-After": "0"}),
            response(PAID),
        )
        self.assertEqual(self.pay(bank_at(peer.url)).outcome, Outcome.UNKNOWN)
        self.assertEqual(len(peer.requests), 1)


class ProxyTest(PeerTestCase):
    def test_of_the_environment_is_ignored(self):
        proxy = self.answering(response(b"<h1>Not Found</h1>", status="404 No"))
        names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY")
        with mock.patch.dict(os.environ, dict.fromkeys(names, proxy.url)):
            self.assertEqual(self.outcome_of_bytes(response(PAID)), Outcome.ACCEPTED)
        self.assertEqual(proxy.connections, 0)


@marks.slow
class DeadlineTest(PeerTestCase):
    def assert_cut(self, script: Script) -> None:
        """Check that the deadline ends it; time runs when the peer has the request."""
        time_begins = self.clock().run

        def read_and_go_on(line: Line) -> None:
            line.read_request()
            time_begins()
            script(line)

        answer = self.pay(bank_at(self.peer(read_and_go_on).url, **HASTY))
        self.assertEqual((answer.outcome, answer.reason), (Outcome.UNKNOWN, "deadline"))

    def test_ends_a_call_that_nobody_answers(self):
        self.assert_cut(lambda line: line.hang())

    def test_ends_a_call_that_drips(self):
        """Each part would take twenty seconds."""
        padded = b" " * 400 + json.dumps(PAID).encode()
        answer = response(padded, headers={"X": "x" * 400})
        head_ends = answer.index(b"\r\n\r\n") + 4
        for name, at_once in (("head", 0), ("body", head_ends)):

            def script(line: Line, at_once: int = at_once) -> None:
                line.send(answer[:at_once])
                line.drip(answer[at_once:])

            with self.subTest(name):
                self.assert_cut(script)

    def test_ends_a_call_that_is_told_to_continue_for_ever(self):
        def script(line: Line) -> None:
            while not line.ended.wait(0.01):
                line.send(b"HTTP/1.1 100 Continue\r\n\r\n")

        self.assert_cut(script)

    def test_ends_a_call_at_its_moment_and_not_before(self):
        time_passes, asked = self.clock(), threading.Event()

        def script(line: Line) -> None:
            if line.read_request():
                asked.set()
                line.hang()

        bank = bank_at(self.peer(script).url)
        call = bank.pay_later(PAYMENT, send_before=NEVER)
        self.assertTrue(asked.wait(PATIENCE))
        time_passes.go_on(PATIENCE - 0.01)
        self.look_at_the_clock(bank)
        self.assertFalse(call.done())
        time_passes.go_on(0.01)
        self.look_at_the_clock(bank)
        self.assertTrue(call.done())

    def test_does_not_end_a_call_that_is_only_slow(self):
        time_passes = self.clock()

        def script(line: Line) -> None:
            line.read_request()
            line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            time_passes.go_on(0.9 * PATIENCE)
            line.send(response(PAID))

        self.assertEqual(self.outcome_of(script).outcome, Outcome.ACCEPTED)

    def test_is_each_calls_own(self):
        """The deadline of calls that hang does not end other calls."""
        time_passes, answers = self.clock(), threading.Event()
        asked = threading.Semaphore(0)

        def script(line: Line) -> None:
            while request := line.read_request():
                asked.release()
                if b'"amount": 1,' in request:
                    line.hang()
                    return
                answers.wait(PATIENCE)
                line.send(response(PAID))

        bank = bank_at(self.peer(script).url)

        def four(amount: int) -> list[Future[Answer]]:
            payments = [
                Payment(uuid.uuid4(), PAYMENT.wallet_uuid, amount) for _ in range(4)
            ]
            calls = [bank.pay_later(one, send_before=NEVER) for one in payments]
            for _ in calls:
                self.assertTrue(asked.acquire(timeout=PATIENCE))
            return calls

        hanging = four(1)
        time_passes.go_on(0.9 * PATIENCE)
        others = four(2)
        time_passes.go_on(0.2 * PATIENCE)
        # The ninth call wakes the client, which first checks the others' deadlines.
        others.append(bank.pay_later(PAYMENT, send_before=NEVER))
        cut = [call.result(PATIENCE).outcome for call in hanging]
        self.assertEqual(cut, [Outcome.UNKNOWN] * 4)
        answers.set()
        paid = [call.result(PATIENCE).outcome for call in others]
        self.assertEqual(paid, [Outcome.ACCEPTED] * 5)

    def test_of_a_finished_call_does_not_end_the_next_one_on_its_connection(self):
        """The first call's deadline passes during the second call."""
        time_passes, lines = self.clock(), []

        def script(line: Line) -> None:
            while line.read_request():
                lines.append(line.number)
                time_passes.go_on(0.6 * PATIENCE)
                self.look_at_the_clock(bank)
                line.send(response(PAID | ECHO))

        bank = bank_at(self.peer(script).url)
        for _ in range(2):
            self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
        self.assertEqual(len(set(lines)), 1, "the second call had its own connection")

    def test_lets_the_next_calls_begin_when_all_are_over_in_the_same_moment(self):
        time_passes = self.clock()

        class Slow(Connection):
            """As on a busy machine: the first byte takes the whole deadline."""

            async def read(self) -> bytes:
                data = await super().read()
                time_passes.go_on(PATIENCE)
                return data

        all_asked = threading.Event()
        both_sent = threading.Barrier(2)

        def script(line: Line) -> None:
            line.read_request()
            both_sent.wait(PATIENCE)
            all_asked.wait(PATIENCE)
            line.send(response(PAID)[:1])
            line.hang()

        with mock.patch.object(HttpBank, "connection_class", Slow):
            bank = bank_at(self.peer(script).url, connections=2)
        calls = [bank.pay_later(PAYMENT, send_before=NEVER) for _ in range(4)]
        all_asked.set()
        self.assertFalse(wait(calls, PATIENCE).not_done)


class LostAnswerTest(PeerTestCase):
    """After the first byte no call can be "not sent"."""

    def test_is_unknown_after_a_close_or_a_reset(self):
        def close(line: Line) -> None:
            line.read_request()

        def reset(line: Line) -> None:
            line.read_request()
            line.reset()

        def close_at_once(line: Line) -> None:
            line.sock.recv(1)

        for script in (close, reset, close_at_once):
            with self.subTest(script.__name__):
                self.assertEqual(self.outcome_of(script).outcome, Outcome.UNKNOWN)

    def test_is_not_repeated_by_the_transport(self):
        requests = []

        def script(line: Line) -> None:
            requests.append(line.read_request())
            line.reset()

        self.assertEqual(self.outcome_of(script).outcome, Outcome.UNKNOWN)
        self.assertEqual(len(requests), 1)


class NotSentTest(PeerTestCase):
    def assert_not_sent(self, bank: HttpBank) -> None:
        answer = self.pay(bank)
        self.assertEqual(answer.outcome, Outcome.NOT_SENT, answer)
        self.assertTrue(answer.reason)

    def test_says_so_when_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.assert_not_sent(bank_at(f"http://127.0.0.1:{port}"))

    def test_says_so_when_the_name_is_unknown(self):
        self.assert_not_sent(bank_at("http://bank.invalid", **HASTY))

    def test_says_so_when_the_connection_is_not_made_in_time(self):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            others = []
            for _ in range(4):  # fills the queue of connections not yet accepted
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
                others.append(sock)
            self.assert_not_sent(bank_at(f"http://127.0.0.1:{port}", **HASTY))
            for sock in others:
                sock.close()

    @marks.slow
    def test_says_so_when_tls_meets_a_plain_port(self):
        peer = self.answering(response(PAID))
        self.assert_not_sent(bank_at(f"https://127.0.0.1:{peer.port}", **HASTY))

    @marks.slow
    def test_says_so_when_the_tls_handshake_hangs(self):
        peer = self.peer(lambda line: line.hang())
        self.assert_not_sent(bank_at(f"https://127.0.0.1:{peer.port}", **HASTY))

    def test_says_so_when_the_sender_comes_too_late(self):
        peer = self.answering(response(PAID))
        bank = bank_at(peer.url)
        answer = bank.pay(PAYMENT, send_before=clock.elapsed())
        self.assertEqual(answer.outcome, Outcome.NOT_SENT)
        self.assertEqual(peer.requests, [])

    def test_says_so_when_connecting_alone_took_all_the_time(self):
        """With a slow name server the deadline passes before a byte is sent."""
        time_passes, peer = self.clock(), self.answering(response(PAID))
        # One connection, so that the first name look-up ends before the second one.
        bank = bank_at(f"http://localhost:{peer.port}", connections=1)
        resolve, resolves = socket.getaddrinfo, threading.Event()
        looked_up = threading.Event()

        def slowly(*args: Any, **options: Any) -> Any:
            resolves.set()
            looked_up.wait(PATIENCE)
            return resolve(*args, **options)

        with mock.patch.object(socket, "getaddrinfo", slowly):
            call = bank.pay_later(PAYMENT, send_before=NEVER)
            self.assertTrue(resolves.wait(PATIENCE))
            time_passes.go_on(PATIENCE)
            another = Payment(uuid.uuid4(), PAYMENT.wallet_uuid, 7)
            next_call = bank.pay_later(another, send_before=NEVER)
            self.assertEqual(call.result(PATIENCE).outcome, Outcome.NOT_SENT)
            looked_up.set()
            self.assertEqual(next_call.result(PATIENCE).outcome, Outcome.ACCEPTED)
        (request,) = peer.requests
        self.assertIn(str(another.reference).encode(), request)


def echo_of(request: bytes) -> dict[str, Any]:
    """Return the echo of this request by a bank that echoes."""
    order = json.loads(request.partition(b"\r\n\r\n")[2])
    return {"reference": order["reference"], "amount": order["amount"]}


def another_payment(amount: int = 7) -> Payment:
    return Payment(uuid.uuid4(), PAYMENT.wallet_uuid, amount)


class CancelledCallTest(PeerTestCase):
    """A call can be taken back before its first byte, and not after that."""

    def hanging(self) -> tuple[HttpBank, Future[Answer], list[bytes], threading.Event]:
        """A client with one call at a time, which the bank has and does not answer yet."""
        asked, answers, requests = threading.Event(), threading.Event(), []

        def script(line: Line) -> None:
            while request := line.read_request():
                requests.append(request)
                asked.set()
                answers.wait(PATIENCE)
                line.send(response(PAID))

        bank = bank_at(self.peer(script).url, connections=1)
        call = bank.pay_later(PAYMENT, send_before=NEVER)
        self.assertTrue(asked.wait(PATIENCE))
        return bank, call, requests, answers

    def test_is_not_sent_when_it_waited_for_its_turn(self):
        bank, first, requests, answers = self.hanging()
        waiting = bank.pay_later(another_payment(), send_before=NEVER)
        last = bank.pay_later(PAYMENT, send_before=NEVER)
        self.assertTrue(waiting.cancel())
        answers.set()
        outcomes = [call.result(PATIENCE).outcome for call in (first, last)]
        self.assertEqual(outcomes, [Outcome.ACCEPTED] * 2)
        self.assertEqual(len(requests), 2)

    def test_is_not_taken_back_when_it_was_sent(self):
        _, call, requests, answers = self.hanging()
        self.assertFalse(call.cancel())
        answers.set()
        self.assertEqual(call.result(PATIENCE).outcome, Outcome.ACCEPTED)
        self.assertEqual(len(requests), 1)

    def test_is_not_sent_when_it_was_connecting(self):
        peer = self.answering(response(PAID))
        opened, goes_on = threading.Event(), threading.Event()

        class Slow(Connection):
            @classmethod
            async def open(cls, *args: Any, **options: Any) -> Any:
                made = await super().open(*args, **options)
                opened.set()
                await asyncio.to_thread(goes_on.wait, PATIENCE)
                return made

        with mock.patch.object(HttpBank, "connection_class", Slow):
            bank = bank_at(peer.url, connections=1)
        call = bank.pay_later(PAYMENT, send_before=NEVER)
        self.assertTrue(opened.wait(PATIENCE))
        self.assertTrue(call.cancel())
        goes_on.set()
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
        self.assertEqual(len(peer.requests), 1)


class EarlyAnswerTest(PeerTestCase):
    """An answer before the request: it is ignored, and the request is not sent."""

    def bank_that_reads_it_first(self, peer: Peer, **tls: Any) -> HttpBank:
        """Return a bank whose connections are used only after bytes have arrived.

        The peer waits for `connected`, so that it does not send during the connect.
        """
        self.connected = threading.Event()
        connected = self.connected

        class Patient(Connection):
            @classmethod
            async def open(cls, *args: Any, **options: Any) -> Any:
                made = await super().open(*args, **(options | tls))
                connected.set()
                await made.listen(PATIENCE)
                return made

        with mock.patch.object(HttpBank, "connection_class", Patient):
            return bank_at(peer.url)

    def test_is_not_believed_and_nothing_is_sent(self):
        for early in (
            response(PAID),
            response(REFUSED),
            response(PAID | ECHO),
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"H",
        ):
            requests: list[bytes] = []

            def script(line: Line, early: bytes = early) -> None:
                self.connected.wait(PATIENCE)
                line.send(early)
                if request := line.read_request():
                    requests.append(request)  # noqa: B023

            peer = self.peer(script)
            bank = self.bank_that_reads_it_first(peer)
            with self.subTest(early):
                answer = self.pay(bank)
                self.assertEqual(answer.outcome, Outcome.NOT_SENT, answer)
                self.assertEqual(bank.look_up(PAYMENT).outcome, Outcome.UNKNOWN)
                for _ in range(2):
                    peer.wait_for_close()
                self.assertEqual(requests, [])

    def test_is_waited_for_a_moment(self):
        """The bytes that a peer sends at once arrive some time after the connect."""
        for early in (response(PAID), b""):
            listens = threading.Event()

            class Listening(Connection):
                async def listen(self, seconds: float) -> None:
                    listens.set()  # noqa: B023
                    await super().listen(PATIENCE)

            def script(line: Line, early: bytes = early) -> None:
                listens.wait(PATIENCE)  # noqa: B023
                line.send(early)
                if early:
                    line.hang()

            with (
                self.subTest(early),
                mock.patch.object(HttpBank, "connection_class", Listening),
                mock.patch("ssl.create_default_context", return_value=trusting()),
            ):
                answer = self.pay(bank_at(self.peer(script).url))
                self.assertEqual(answer.outcome, Outcome.NOT_SENT, answer)

    def test_may_be_a_close_and_then_nothing_is_sent(self):
        peer = self.peer(lambda line: self.connected.wait(PATIENCE))
        answer = self.pay(self.bank_that_reads_it_first(peer))
        self.assertEqual(answer.outcome, Outcome.NOT_SENT, answer)

    @marks.slow
    def test_does_not_count_before_the_whole_request_is_sent(self):
        """The request is longer than the buffers of both sockets."""

        def script(line: Line) -> None:
            line.sock.recv(65536)
            line.send(response(PAID))
            line.ended.wait(PATIENCE)

        bank = bank_at(f"{self.peer(script).url}/{'long' * 5_000_000}")
        answer = self.pay(bank)
        self.assertEqual(answer.outcome, Outcome.UNKNOWN, answer)


class EarlyTlsAnswerTest(EarlyAnswerTest):
    """The same with TLS, which has already read the bytes from the socket."""

    def peer(self, script: Script) -> Peer:
        peer = TlsPeer(script)
        self.addCleanup(peer.stop)
        return peer

    def bank_that_reads_it_first(self, peer: Peer, **tls: Any) -> HttpBank:
        return super().bank_that_reads_it_first(peer, tls=trusting(), **tls)

    # This test does not depend on TLS.
    test_does_not_count_before_the_whole_request_is_sent = None

    def test_is_not_seen_in_the_tickets_of_tls(self):
        """The session tickets after the handshake are no answer."""

        sent = threading.Event()

        class Patient(Connection):
            @classmethod
            async def open(cls, *args: Any, **options: Any) -> Any:
                made = await super().open(*args, **options)
                await asyncio.to_thread(sent.wait, PATIENCE)
                await made.listen(0.05)
                return made

        def script(line: Line) -> None:
            sent.set()
            line.read_request()
            line.send(response(PAID | ECHO))

        peer = TlsPeer(script, tickets=2)
        self.addCleanup(peer.stop)
        with (
            mock.patch.object(HttpBank, "connection_class", Patient),
            mock.patch("ssl.create_default_context", return_value=trusting()),
        ):
            bank = bank_at(peer.url)
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)


class EchoTest(PeerTestCase):
    """A connection serves a second payment only if the first answer had an echo."""

    def test_of_the_reference_lets_the_connection_serve_the_next(self):
        self.clock()  # the connection is never idle for too long

        def script(line: Line) -> None:
            while request := line.read_request():
                line.send(response(PAID | echo_of(request)))

        peer = self.peer(script)
        bank = bank_at(peer.url)
        for _ in range(20):
            self.assertEqual(
                self.pay(bank, another_payment()).outcome, Outcome.ACCEPTED
            )
        self.assertEqual(peer.connections, 1)

    def test_of_anything_else_does_not(self):
        for echo in ({}, {"amount": 400}, {"wallet_uuid": str(PAYMENT.wallet_uuid)}):
            for said, expected in (
                (PAID, Outcome.ACCEPTED),
                (REFUSED, Outcome.REJECTED),
            ):
                peer = self.answering(response(said | echo))
                bank = bank_at(peer.url)
                with self.subTest(said=said, echo=echo):
                    for _ in range(3):
                        self.assertEqual(self.pay(bank).outcome, expected)
                    self.assertEqual(peer.connections, 3)

    def test_is_required_of_a_look_up_too(self):
        for echo, needed in (({}, 3), ({"reference": ECHO["reference"]}, 1)):
            unknown = {"data": "unknown", "status": 404} | echo
            peer = self.answering(response(unknown, status="404 Not Found"))
            bank = bank_at(peer.url)
            with self.subTest(echo=echo):
                for _ in range(3):
                    found = bank.look_up(PAYMENT).outcome
                    self.assertEqual(found, Outcome.NOT_FOUND)
                self.assertEqual(peer.connections, needed)

    def test_is_required_when_a_bank_answers_twice_and_late(self):
        """It answers the first payment again when the second one arrives."""
        time_passes, asked = self.clock(), threading.Event()

        def script(line: Line) -> None:
            if line.read_request() and line.number == 1:
                line.send(response(PAID))
                if not line.read_request():
                    return
                line.send(response(PAID))
            asked.set()
            line.hang()

        bank = bank_at(self.peer(script).url)
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
        call = bank.pay_later(another_payment(), send_before=NEVER)
        self.assertTrue(asked.wait(PATIENCE))
        time_passes.go_on(PATIENCE)
        self.look_at_the_clock(bank)
        self.assertEqual(call.result(PATIENCE).outcome, Outcome.UNKNOWN)

    def test_of_another_payment_is_unknown_and_ends_the_connection(self):
        """The bank answers twice, and its second answer echoes the first payment."""
        self.clock()

        def script(line: Line) -> None:
            first = line.read_request()
            line.send(response(PAID | echo_of(first)))
            while request := line.read_request():
                about = first if line.number == 1 else request
                line.send(response(PAID | echo_of(about)))

        peer = self.peer(script)
        bank = bank_at(peer.url)
        outcomes = [self.pay(bank, another_payment()).outcome for _ in range(3)]
        expected = [Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.ACCEPTED]
        self.assertEqual(outcomes, expected)
        self.assertEqual(peer.connections, 2)


class MixedEchoTest(PeerTestCase):
    """A bank that names the reference in some of its answers only."""

    def setUp(self) -> None:
        super().setUp()
        self.clock()  # no connection idles too long

    def bank_with(self, *says: tuple[dict[str, Any], bool]) -> HttpBank:
        """It gives these answers in turn, with or without an echo."""
        left = list(says)

        def script(line: Line) -> None:
            while request := line.read_request():
                said, echoes = left.pop(0)
                line.send(response(said | (echo_of(request) if echoes else {})))

        self.its_peer = self.peer(script)
        return bank_at(self.its_peer.url)

    def outcomes(self, bank: HttpBank, number: int) -> list[Outcome]:
        return [self.pay(bank, another_payment()).outcome for _ in range(number)]

    def test_proves_nothing_without_one_on_a_connection_used_before(self):
        """A late refusal of the first payment, by whoever is in front of the bank."""

        def script(line: Line) -> None:
            line.send(response(PAID | echo_of(line.read_request())))
            if line.read_request():
                line.send(response(REFUSED))
                line.hang()

        bank = bank_at(self.peer(script).url)
        expected = [Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.ACCEPTED]
        self.assertEqual(self.outcomes(bank, 3), expected)

    def test_gets_one_connection_for_each_payment_from_then_on(self):
        echoed, bare = (PAID, True), (REFUSED, False)
        bank = self.bank_with(echoed, bare, echoed, bare, echoed)
        yes, no = Outcome.ACCEPTED, Outcome.REJECTED
        self.assertEqual(self.outcomes(bank, 5), [yes, Outcome.UNKNOWN, yes, no, yes])
        self.assertEqual(self.its_peer.connections, 4)

    def test_is_noticed_on_a_fresh_connection(self):
        echoed, bare = (PAID, True), (REFUSED, False)
        bank = self.bank_with(bare, echoed, bare)
        yes, no = Outcome.ACCEPTED, Outcome.REJECTED
        self.assertEqual(self.outcomes(bank, 3), [no, yes, no])
        self.assertEqual(self.its_peer.connections, 3)

    def test_is_believed_on_a_connection_that_was_opened_and_not_used(self):
        bank = self.bank_with((PAID, False))
        self.look_at_the_clock(bank)  # by a call that came too late
        self.assertEqual(self.outcomes(bank, 1), [Outcome.ACCEPTED])
        self.assertEqual(self.its_peer.connections, 1)

    def test_closes_the_other_connections_that_were_used_before(self):
        both = threading.Barrier(2)
        asked: list[int] = []

        def script(line: Line) -> None:
            while request := line.read_request():
                asked.append(line.number)
                if len(asked) > 2:
                    line.send(response(REFUSED))
                    continue
                both.wait(PATIENCE)
                line.send(response(PAID | echo_of(request)))

        peer = self.peer(script)
        bank = bank_at(peer.url)
        calls = [bank.pay_later(another_payment(), send_before=NEVER) for _ in "12"]
        self.assertFalse(wait(calls, PATIENCE).not_done)
        self.assertEqual(self.outcomes(bank, 2), [Outcome.UNKNOWN, Outcome.REJECTED])
        self.assertEqual(peer.connections, 3)


class FollowedAnswerTest(PeerTestCase):
    """Bytes after the answer: without an echo it is unknown which answer is ours."""

    def test_proves_nothing_without_an_echo(self):
        for said, more in ((PAID, PAID), (PAID, REFUSED), (REFUSED, PAID)):
            with self.subTest(said=said, more=more):
                data = response(said) + response(more)
                self.assertEqual(self.outcome_of_bytes(data), Outcome.UNKNOWN)

    def test_proves_what_it_says_when_it_names_our_reference(self):
        peer = self.answering(response(PAID | ECHO) + response(REFUSED))
        bank = bank_at(peer.url)
        for _ in range(2):
            self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
        self.assertEqual(peer.connections, 2)


class ConnectionTest(PeerTestCase):
    def test_is_made_to_the_next_address_where_the_first_does_not_answer(self):
        peer = self.answering(response(PAID))
        with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
            others = [socket.socket() for _ in range(4)]
            for sock in others:  # fills the queue of connections not yet accepted
                self.addCleanup(sock.close)
                sock.setblocking(False)
                sock.connect_ex(silent.getsockname())
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            found = [(*kind, silent.getsockname()), (*kind, ("127.0.0.1", peer.port))]
            with mock.patch.object(socket, "getaddrinfo", return_value=found):
                answer = self.pay(bank_at("http://bank.test"))
        self.assertEqual(answer.outcome, Outcome.ACCEPTED)

    def test_is_opened_again_when_the_bank_has_closed_it(self):
        peer = self.answering(response(PAID), keep=False)
        bank = bank_at(peer.url)
        for _ in range(3):
            self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
            peer.wait_for_close()
        self.assertEqual(peer.connections, 3)

    def test_is_not_used_again_after_an_answer_that_is_not_the_banks(self):
        for data in (
            response(b"", status="302 Moved", headers={"Location": "/"}),
            response(b"<h1>Sorry</h1>", status="502 Bad Gateway"),
            response(b"", status="202 Accepted"),
            response(b"not json"),
        ):
            peer = self.answering(data, response(PAID))
            bank = bank_at(peer.url)
            with self.subTest(data):
                self.assertEqual(self.pay(bank).outcome, Outcome.UNKNOWN)
                self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
                self.assertEqual(peer.connections, 2)

    def test_never_gives_one_payments_answer_to_the_next(self):
        """The real answer comes after an interim answer, when the call has ended."""
        time_passes = self.clock()

        def script(line: Line) -> None:
            line.read_request()
            if line.number > 1:
                line.send(response(REFUSED))
                return
            time_passes.go_on(PATIENCE)
            line.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            if line.read_request():
                line.send(response(PAID))  # about the first payment

        peer = self.peer(script)
        bank = bank_at(peer.url)
        first = self.pay(bank)
        second = self.pay(bank, Payment(uuid.uuid4(), PAYMENT.wallet_uuid, 7))
        self.assertEqual(first.outcome, Outcome.UNKNOWN)
        self.assertEqual(second.outcome, Outcome.REJECTED, second)

    def test_is_not_used_again_after_idling(self):
        peer = self.answering(response(PAID | ECHO))
        bank = bank_at(peer.url)
        self.pay(bank)
        with mock.patch.object(http_calls, "MAX_IDLE_SECONDS", 0):
            self.pay(bank)
        self.assertEqual(peer.connections, 2)

    def test_is_ended_by_unrequested_bytes(self):
        self.clock()  # the connection is never idle for too long
        answered = threading.Event()

        def script(line: Line) -> None:
            line.read_request()
            line.send(response(PAID | ECHO))
            answered.wait(PATIENCE)
            line.send(response(REFUSED | ECHO))
            line.hang()

        peer = self.peer(script)
        bank = bank_at(peer.url)
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
        answered.set()
        peer.wait_for_close()
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)
        self.assertEqual(peer.connections, 2)

    def test_are_not_more_than_a_number_at_once(self):
        self.clock()  # no connection is idle for too long
        bank_answers = threading.Event()

        def script(line: Line) -> None:
            while line.read_request():
                bank_answers.wait(PATIENCE)
                line.send(response(PAID | ECHO))

        peer = self.peer(script)
        bank = bank_at(peer.url, connections=2)
        calls = [bank.pay_later(PAYMENT, send_before=NEVER) for _ in range(8)]
        bank_answers.set()
        outcomes = [call.result(PATIENCE).outcome for call in calls]
        self.assertEqual(outcomes, [Outcome.ACCEPTED] * 8)
        self.assertEqual(peer.connections, 2)


@marks.slow
class DeadClientTest(PeerTestCase):
    """The client's thread ends without an answer: a bug, or the end of the process."""

    def test_leaves_the_outcome_unknown_and_no_caller_waiting(self):
        bank = bank_at("http://127.0.0.1:9", deadline=0.05)
        with mock.patch.object(bank._caller, "submit", return_value=Future()):
            answers = [
                bank.pay(PAYMENT, send_before=clock.elapsed() + 0.1),
                bank.look_up(PAYMENT),
            ]
        self.assertEqual([a.outcome for a in answers], [Outcome.UNKNOWN] * 2)

    def test_answers_waiting_callers_at_its_end(self):
        asked = threading.Event()

        def script(line: Line) -> None:
            line.read_request()
            asked.set()
            line.hang()

        bank = bank_at(self.peer(script).url)
        call = bank.pay_later(PAYMENT, send_before=NEVER)
        self.assertTrue(asked.wait(PATIENCE))
        self.end(bank._caller._loop)
        self.assertEqual(call.result(PATIENCE).outcome, Outcome.UNKNOWN)

    def test_answers_callers_after_its_end(self):
        """The thread ended between the check that it runs and the call."""
        loop = http_calls._Loop(mock.Mock(), 1, 1)
        self.end(loop)
        call = http_calls._Call(mock.Mock(), mock.Mock(), float("inf"))
        loop.hand_in(call)
        with self.assertRaises(RuntimeError):
            call.future.result(PATIENCE)

    def test_is_followed_by_another(self):
        bank = bank_at(self.answering(response(PAID)).url)
        self.pay(bank)
        self.end(bank._caller._loop)
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)

    def test_raises_a_bug_and_continues(self):
        bank = bank_at(self.answering(response(PAID)).url)
        bug = mock.patch(
            "wallets.utils.bank.evidence.read", side_effect=ZeroDivisionError
        )
        with bug, self.assertRaises(ZeroDivisionError), self.assertLogs("asyncio"):
            self.pay(bank)
            gc.collect()
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)

    def end(self, loop: http_calls._Loop) -> None:
        """End the client's thread, which no call can do."""
        loop._loop.call_soon_threadsafe(loop._loop.stop)
        loop._thread.join(PATIENCE)
        self.assertFalse(loop.runs_here())


class InsideTransactionTest(TestCase):
    def test_refuses_to_call_the_bank(self):
        bank = bank_at("http://127.0.0.1:9")
        for call in (
            lambda: bank.pay(PAYMENT, send_before=NEVER),
            lambda: bank.look_up(PAYMENT),
        ):
            with self.assertRaises(InsideTransaction), transaction.atomic():
                call()


@marks.slow
class ForkTest(PeerTestCase):
    """A forked worker process has no thread and no connection of its parent."""

    def in_child(self, work: Any) -> bytes:
        """Return the result of `work` in a child process; b"" after a time-out."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover (another process)
            try:
                os.write(writing, work())
            finally:
                os._exit(0)
        os.close(writing)
        readable, _, _ = select.select([reading], [], [], PATIENCE)
        result = os.read(reading, 100) if readable else b""
        os.close(reading)
        if not readable:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return result

    def test_keeps_the_deadline_in_the_child(self):
        time_begins = self.clock().run
        asked, is_asked = os.pipe()
        for end in (asked, is_asked):
            self.addCleanup(os.close, end)

        def script(line: Line) -> None:
            line.read_request()
            if line.number == 1:
                line.send(response(PAID | ECHO))
            else:
                os.write(is_asked, b".")
            line.hang()

        bank = bank_at(self.peer(script).url, **HASTY)
        self.assertEqual(self.pay(bank).outcome, Outcome.ACCEPTED)  # starts the thread

        def work() -> bytes:
            call = bank.pay_later(PAYMENT, send_before=NEVER)
            os.read(asked, 1)
            time_begins()
            return call.result().reason.encode()

        self.assertEqual(self.in_child(work), b"deadline")

    def test_does_not_share_the_parents_connections(self):
        peer = self.answering(response(PAID | ECHO))
        third_party._bank_of.cache_clear()
        self.addCleanup(third_party._bank_of.cache_clear)
        patient = {"THIRD_PARTY_DEADLINE": PATIENCE}
        with override_settings(THIRD_PARTY_BASE_URL=peer.url, **patient):
            self.pay(third_party.get_bank())

            def work() -> bytes:
                bank = third_party.get_bank()
                return bank.pay(PAYMENT, send_before=NEVER).outcome.value.encode()

            self.assertEqual(self.in_child(work), b"accepted")
            self.assertEqual(peer.connections, 2)

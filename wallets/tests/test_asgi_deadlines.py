"""The application's limits against hostile clients, with and without the server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from django.test import SimpleTestCase

from drills.process import Process, children_of, free_port, wait_until
from wallets.asgi.bounded import Bounded
from wallets.asgi.deadlines import Deadlines, Limits
from wallets.asgi.types import Application, Message, Scope
from wallets.tests import marks, served

PATIENCE = 30
HOST = (b"host", b"localhost")
SMALL = Limits(0.3, 0.3, held_bytes=10)
QUIET_SECONDS = 2


def scope_of(path: str = "/", *fields: tuple[bytes, bytes], **more: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [HOST, *fields],
    } | more


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Client:
    """The client of one call of the application."""

    def __init__(self, parts: Iterable[Message] = (), takes: bool = True) -> None:
        self._parts = iter(parts)
        self._takes = takes
        self.got: list[Message] = []

    async def receive(self) -> Message:
        for message in self._parts:
            return message
        await asyncio.sleep(PATIENCE)
        raise AssertionError("nobody waited so long")

    async def send(self, message: Message) -> None:
        self.got.append(message)
        if not self._takes and message["type"] == "http.response.body":
            await asyncio.sleep(PATIENCE)

    @property
    def status(self) -> int:
        return int(self.got[0]["status"]) if self.got else 0

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.got[0]["headers"])

    @property
    def code(self) -> str:
        body = b"".join(message.get("body", b"") for message in self.got)
        return str(json.loads(body)["code"])


def call(
    scope: Scope, client: Client, application: Application = served.answer
) -> Client:
    asyncio.run(Deadlines(application, SMALL)(scope, client.receive, client.send))
    return client


class QuietTestCase(SimpleTestCase):
    """Test cases without log lines of requests."""

    def setUp(self) -> None:
        super().setUp()
        logger = logging.getLogger("wallets.views.http.request_log")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)


class HeadsTest(QuietTestCase):
    """A head that two parsers could read differently…"""

    def refused(self, *fields: tuple[bytes, bytes], **more: Any) -> str:
        return call(scope_of("/", *fields, **more), Client()).code

    def test_is_refused(self) -> None:
        chunked = (b"transfer-encoding", b"chunked")
        cases: list[tuple[str, tuple[tuple[bytes, bytes], ...], dict[str, Any]]] = [
            ("two hosts", (HOST,), {}),
            ("no host", (), {"headers": [(b"host", b"")]}),
            ("two lengths", (length(1), length(1)), {}),
            ("no number", ((b"content-length", b"+1"),), {}),
            ("length and chunks", (length(1), chunked), {}),
            ("chunks twice", (chunked, chunked), {}),
            ("another coding", ((b"transfer-encoding", b"gzip, chunked"),), {}),
            ("chunks of HTTP/1.0", (chunked,), {"http_version": "1.0"}),
            ("an expectation", ((b"expect", b"miracles"),), {}),
            ("a small method", (), {"method": "get"}),
            ("bytes in the path", (), {"raw_path": b"/\xe9"}),
        ]
        for name, fields, more in cases:
            with self.subTest(name):
                self.assertEqual(self.refused(*fields, **more), "bad_request")

    def test_is_read_whatever_the_case_of_a_word_is(self) -> None:
        """RFC 9110, 10.1.1: Java's HttpClient sends the first."""
        for name, value in (
            (b"expect", b"100-Continue"),
            (b"expect", b"100-CONTINUE"),
            (b"transfer-encoding", b"Chunked"),
        ):
            with self.subTest(value):
                parts = [part(b"abc", more=False)]
                fields = ((name, value),)
                if name == b"expect":
                    fields = (*fields, length(3))
                client = call(scope_of("/body", *fields), Client(parts))
                self.assertEqual(json.loads(client.got[1]["body"])["size"], 3)

    def test_is_refused_for_its_length(self) -> None:
        self.assertEqual(self.refused(query_string=b"a" * 4090), "uri_too_long")
        many = [(b"x-a", b"a")] * 100
        self.assertEqual(self.refused(*many), "headers_too_large")
        self.assertEqual(self.refused((b"x-a", b"a" * 8190)), "headers_too_large")

    def test_loses_names_that_wsgi_would_confuse(self) -> None:
        fields = [(b"x_forwarded_for", b"10.0.0.1"), (b"x-a", b"a")]
        client = call(scope_of("/", *fields), Client())
        self.assertEqual(json.loads(client.got[1]["body"])["headers"], 2)


class DeadlinesTest(QuietTestCase):
    """The application…"""

    def test_gets_a_body_whole(self) -> None:
        parts = [part(b"abc"), part(b"de"), part(b"", more=False)]
        chunked = (b"transfer-encoding", b"chunked")
        client = call(scope_of("/body", chunked), Client(parts))
        self.assertEqual(json.loads(client.got[1]["body"])["size"], 5)
        self.assertNotIn(b"connection", client.headers)

    def test_need_not_wait_for_an_empty_part(self) -> None:
        """The body is complete when it has its announced length."""
        client = call(scope_of("/body", length(3)), Client([part(b"abc")]))
        self.assertEqual(json.loads(client.got[1]["body"])["size"], 3)

    @marks.slow
    def test_never_takes_a_part_for_the_whole(self) -> None:
        gone = {"type": "http.disconnect"}
        for name, parts in (("late", [part(b"ab")]), ("gone", [part(b"ab"), gone])):
            with self.subTest(name):
                client = call(scope_of("/body", length(3)), Client(parts))
                self.assertEqual(client.status, 400)
                self.assertEqual(client.code, "body_incomplete")
                self.assertEqual(client.headers[b"connection"], b"close")

    def test_ends_a_connection_whose_body_nobody_read(self) -> None:
        client = call(scope_of("/", length(3)), Client())
        self.assertEqual((client.status, len(client.got)), (200, 2))
        self.assertEqual(client.headers[b"connection"], b"close")

    def test_holds_a_bounded_number_of_bytes(self) -> None:
        client = call(scope_of("/body", length(99)), Client([part(b"a" * 11)]))
        self.assertEqual((client.status, client.code), (503, "service_unavailable"))
        self.assertEqual(client.headers[b"retry-after"], b"1")

    @marks.slow
    def test_is_not_blocked_by_a_client_that_reads_no_answer(self) -> None:
        began = time.monotonic()
        client = call(scope_of("/long"), Client(takes=False))
        self.assertLess(time.monotonic() - began, PATIENCE)
        self.assertEqual(len(client.got), 2)

    def test_answers_in_parts(self) -> None:
        async def large(_scope: Scope, _receive: Any, send: Any) -> None:
            start = {"type": "http.response.start", "status": 200, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"ab" * 65_536})

        client = call(scope_of(), Client(), large)
        sizes = [len(message["body"]) for message in client.got[1:]]
        self.assertEqual(sizes, [65_536, 65_536])
        self.assertFalse(client.got[-1].get("more_body", False))

    def test_fails_without_details(self) -> None:
        with self.assertLogs("wallets.asgi", "ERROR"):
            client = call(scope_of("/fails"), Client())
        self.assertEqual((client.status, client.code), (500, "internal_error"))
        self.assertNotIn(b"nobody may read", client.got[1]["body"])

    @marks.slow
    def test_has_a_bounded_number_of_requests(self) -> None:
        async def ask() -> list[tuple[int, int]]:
            bounded = Bounded(served.answer, 1)
            application = Deadlines(bounded, SMALL)
            clients = [Client() for _ in range(3)]
            paths = ("/slow", "/slow", "/healthz")
            await asyncio.gather(
                *(
                    application(scope_of(path), client.receive, client.send)
                    for path, client in zip(paths, clients, strict=True)
                )
            )
            left = (bounded.in_hand, application.held_bytes)
            return [*((client.status, 0) for client in clients), left]

        self.assertEqual(asyncio.run(ask()), [(200, 0), (503, 0), (200, 0), (0, 0)])

    def test_can_be_cancelled(self) -> None:
        """A cancellation by the server is not handled as a deadline."""

        async def cancel() -> None:
            client = Client()
            application = Deadlines(served.answer)
            task = asyncio.create_task(
                application(scope_of("/body", length(3)), client.receive, client.send)
            )
            await asyncio.sleep(0)
            task.cancel()
            await task

        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(cancel())


@marks.slow
@marks.timeout(180)
class ServerTest(SimpleTestCase):
    """The real server, with a test application and one process…"""

    server: ClassVar[Process]
    port: ClassVar[int]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.port = free_port()
        cls.server = serve(cls.port, Path(folder.name))
        cls.addClassCleanup(cls.server.end)

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def ask(self, path: str, *lines: str, body: bytes = b"") -> bytes:
        """Send these bytes, and read until the server closes the connection."""
        sock = self.connect()
        sock.sendall(request(path, *lines) + body)
        return read_all(sock)

    def test_answers(self) -> None:
        found = self.ask("/body", "Content-Length: 3", "Connection: close", body=b"abc")
        self.assertTrue(found.startswith(b"HTTP/1.1 200 OK\r\n"), found)
        self.assertIn(b'"size": 3', found)

    def test_closes_what_never_becomes_a_request(self) -> None:
        for name, sent, drip in (
            ("nothing", b"", b""),
            ("half a head", b"GET / HTTP/1.1\r\nHost: lo", b""),
            ("a head that drips", b"GET / HTTP/1.1\r\nX-A: ", b"a"),
            ("nothing more", request("/"), b""),
        ):
            with self.subTest(name):
                sock = self.connect()
                sock.sendall(sent)
                seconds = until_closed(sock, drip)
                self.assertLess(seconds, QUIET_SECONDS + 3)

    def test_cuts_off_a_body_that_is_late(self) -> None:
        for drip in (b"", b"a"):
            sock = self.connect()
            sock.sendall(request("/body", "Content-Length: 99") + b"abc")
            got = bytearray()
            self.assertLess(until_closed(sock, drip, got), served.SECONDS + 3)
            self.assertTrue(got.startswith(b"HTTP/1.1 400 "), got)
            self.assertIn(b'"code":"body_incomplete"', got)

    def test_refuses_invalid_chunks(self) -> None:
        coded = "Transfer-Encoding: chunked"
        for chunks in (b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n"):
            with self.subTest(chunks):
                found = self.ask("/body", coded, body=chunks)
                self.assertTrue(found.startswith(b"HTTP/1.1 400 "), found)

    def test_refuses_an_endless_head(self) -> None:
        sock = self.connect()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        try:
            while sent < 40_000_000:
                sent += sock.send(b"X-A: " + b"a" * 500 + b"\r\n")
        except OSError:
            pass
        self.assertLess(sent, 20_000_000)

    def test_ends_an_answer_that_nobody_reads(self) -> None:
        """The end of the answer is missing, so that it does not look complete."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.port))
        sock.sendall(request("/long"))
        time.sleep(served.SECONDS + 1)
        sock.settimeout(PATIENCE)
        got = read_all(sock)
        self.assertLess(len(got), served.PARTS * 65_536)
        self.assertFalse(got.endswith(b"0\r\n\r\n"))

    def test_serves_another_client_while_many_wait(self) -> None:
        waiting = [self.connect() for _ in range(300)]
        for sock in waiting[100:]:
            sock.sendall(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9")
        for sock in waiting[200:]:
            sock.sendall(b"\r\n\r\nabc")
        began = time.monotonic()
        found = self.ask("/", "Connection: close")
        self.assertIn(b" 200 OK", found)
        self.assertLess(time.monotonic() - began, QUIET_SECONDS)

    def test_refuses_excess_requests(self) -> None:
        socks = [self.connect() for _ in range(8)]
        for sock in socks:
            sock.sendall(request("/slow", "Connection: close"))
        statuses = sorted(read_all(sock).split()[1] for sock in socks)
        self.assertEqual(statuses, [b"200"] * 4 + [b"503"] * 4)


@marks.slow
@marks.timeout(180)
class StopTest(SimpleTestCase):
    """The real server, when it is stopped or a process is killed…"""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.port = free_port()
        self.server = serve(self.port, Path(folder.name))
        self.addCleanup(self.server.end)

    def test_answers_open_requests(self) -> None:
        idle, slow = (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            for _ in range(2)
        )
        self.addCleanup(idle.close)
        self.addCleanup(slow.close)
        idle.sendall(request("/"))
        self.assertIn(b" 200 OK", idle.recv(4096))
        slow.sendall(request("/slow"))
        time.sleep(0.5)
        began = time.monotonic()
        self.server.signal(signal.SIGTERM)
        idle.settimeout(PATIENCE)
        read_all(idle)
        self.assertLess(time.monotonic() - began, 1)
        self.assertIn(b" 200 OK", read_all(slow))
        self.assertTrue(self.server.wait(5))

    def test_replaces_a_process_that_was_killed(self) -> None:
        (worker,) = children_of(self.server.pid)
        os.kill(worker, signal.SIGKILL)
        wait_until(
            lambda: answered(self.port),
            seconds=PATIENCE,
            what="a process answers again",
        )
        self.assertNotEqual(children_of(self.server.pid), [worker])


def serve(port: int, folder: Path) -> Process:
    env = os.environ | {
        "WEB_CONCURRENCY": "1",
        "WEB_KEEPALIVE": str(QUIET_SECONDS),
        "LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "wallet.serve", "wallets.tests.served:application"]
    command += ["--port", str(port)]
    server = Process("server", command, env=env, log=folder / "log")
    server.start()
    wait_until(lambda: answered(port), seconds=PATIENCE, what="the server answers")
    return server


def answered(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as sock:
            sock.sendall(request("/", "Connection: close"))
            return b" 200 OK" in read_all(sock)
    except OSError:
        return False


def request(path: str, *lines: str) -> bytes:
    first = [f"POST {path} HTTP/1.1", "Host: localhost"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


def read_all(sock: socket.socket) -> bytes:
    got = b""
    try:
        while data := sock.recv(65_536):
            got += data
    except ConnectionResetError:
        pass
    return got


def until_closed(
    sock: socket.socket, drip: bytes = b"", got: bytearray | None = None
) -> float:
    """Return the seconds until the server has closed the connection."""
    began = time.monotonic()
    sock.settimeout(0.2)
    while time.monotonic() - began < PATIENCE:
        try:
            if drip:
                sock.sendall(drip)
            data = sock.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            break
        if not data:
            break
        if got is not None:
            got += data
    return time.monotonic() - began

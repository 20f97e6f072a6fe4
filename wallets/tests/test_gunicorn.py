"""What the real server refuses before the application sees it, byte by byte.

Also there every refusal is a problem, none is a failure of ours, and the log quotes nothing.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import SimpleTestCase

from wallets.tests import marks

PATIENCE = 60
LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")
CANARY = "canary-in-the-mine"

# What is sent, and the problem that answers it. Rows 5, 26 and 70 of the bad inputs.
NO_HTTP: list[tuple[str, bytes, int, str]] = [
    ("no request line", b"%s" % CANARY.encode(), 400, "bad_request"),
    ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "bad_request"),
    ("an HTTP of the future", b"GET /healthz HTTP/9.9", 400, "bad_request"),
    ("a small method", b"get /healthz HTTP/1.1", 400, "bad_request"),
    (
        "a long path",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1",
        414,
        "uri_too_long",
    ),
    (
        "a long query",
        b"GET /wallets/?" + b"a" * 5000 + b" HTTP/1.1",
        414,
        "uri_too_long",
    ),
]
HEADERS: list[tuple[str, bytes, int, str]] = [
    ("no colon", CANARY.encode(), 400, "bad_request"),
    ("a space in the name", b"Idempotency Key: %b" % CANARY.encode(), 400, ""),
    ("NUL", b"X-A: a\0b", 400, "bad_request"),
    ("a folded line", b"X-A: a\r\n  folded", 400, "bad_request"),
    ("10 KB", b"Authorization: " + b"a" * 10_240, 431, "headers_too_large"),
    ("70 KB", b"Authorization: " + b"a" * 70_000, 431, "headers_too_large"),
    ("200 of them", b"\r\n".join([b"X-A: a"] * 200), 431, "headers_too_large"),
    ("two hosts", b"Host: evil.example.com", 400, "bad_request"),
    ("two lengths", b"Content-Length: 12\r\nContent-Length: 13", 400, "bad_request"),
    ("a negative length", b"Content-Length: -1", 400, "bad_request"),
    ("a length in letters", b"Content-Length: 1e3", 400, "bad_request"),
    ("length and chunks", b"Content-Length: 1\r\nTransfer-Encoding: chunked", 400, ""),
    ("a coding nobody knows", b"Transfer-Encoding: xchunked", 400, "bad_request"),
    ("a coding for compression", b"Transfer-Encoding: gzip", 400, "bad_request"),
    ("an expectation", b"Expect: %b" % CANARY.encode(), 400, "bad_request"),
]


@marks.slow
class GunicornTest(SimpleTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.log = Path(folder.name) / "log"
        log = cls.log.open("wb")
        cls.addClassCleanup(log.close)
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wallet.wsgi", "-b", "127.0.0.1:0"],
            cwd=settings.BASE_DIR,
            env=os.environ | {"WEB_CONCURRENCY": "1", "WEB_THREADS": "2"},
            stdout=log,
            stderr=log,
        )
        cls.addClassCleanup(server.wait, PATIENCE)
        cls.addClassCleanup(server.terminate)
        cls.port = cls.wait_until_it_listens(server)

    @classmethod
    def wait_until_it_listens(cls, server: subprocess.Popen[bytes]) -> int:
        for _ in range(PATIENCE * 10):
            if found := LISTENING.search(cls.said()):
                return int(found[1])
            try:
                server.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError(f"the server did not start:\n{cls.said()}")

    @classmethod
    def said(cls) -> str:
        return cls.log.read_text()

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send these bytes; return the status, the headers and the body."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as sock:
            sock.sendall(data)
            answer = b""
            while part := sock.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), headers, body

    def request(self, *headers: bytes, line: bytes = b"GET /healthz HTTP/1.1") -> Any:
        named = [line, b"Host: localhost", *headers, b"Connection: close"]
        return self.send(b"\r\n".join(named) + b"\r\n\r\n")

    def assert_problem(self, answer: Any, status: int, code: str) -> None:
        found, headers, body = answer
        self.assertEqual(found, status, body)
        self.assertEqual(headers["Content-Type"], "application/problem+json")
        self.assertEqual(int(headers["Content-Length"]), len(body))
        self.assertEqual(headers["Connection"], "close")
        problem = json.loads(body)
        self.assertEqual(problem["code"], code)
        self.assertEqual(problem["status"], status)
        self.assertNotIn(CANARY, body.decode())

    def test_answers_what_is_no_http_with_a_problem(self) -> None:
        for name, line, status, code in NO_HTTP:
            with self.subTest(name):
                self.assert_problem(self.request(line=line), status, code)

    def test_answers_headers_that_are_none_with_a_problem(self) -> None:
        for name, header, status, code in HEADERS:
            with self.subTest(name):
                found = self.request(header)
                self.assert_problem(found, status, code or "bad_request")

    def test_does_not_write_down_what_it_refuses(self) -> None:
        for _, line, *_ in NO_HTTP:
            self.request(line=line)
        for _, header, *_ in HEADERS:
            self.request(header)
        self.assertIn("InvalidHeader", self.said())
        self.assertNotIn(CANARY, self.said())
        self.assertNotIn("aaaaaaaa", self.said())

    def test_takes_no_path_from_a_header(self) -> None:
        """A client behind a proxy on this machine could else choose another one."""
        for header in (b"SCRIPT_NAME: /x", b"PATH_INFO: /metrics"):
            status, _, body = self.request(header)
            self.assertEqual((status, body), (200, b'{"status":"ok"}'))

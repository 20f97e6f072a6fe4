"""The real servers with any bytes: the server of production, and a default gunicorn.

No refusal is a 5xx, and the log does not quote the request. If bad input reaches the
application, the answer is a problem.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.test import SimpleTestCase

from drills import services
from drills.process import Process, children_of, free_port, listens, wait_until
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, database_environment
from wallets.utils import login_limit

PATIENCE = 60
CANARY = "canary-in-the-mine"
# The server refuses the request itself, with an empty body.
BARE = ""

# The input, and the problem of the answer. Rows 5, 26 and 70 of the bad inputs.
LINES: list[tuple[str, bytes, int, str]] = [
    ("no request line", b"%s" % CANARY.encode(), 400, BARE),
    ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, BARE),
    ("an HTTP of the future", b"GET /healthz HTTP/9.9", 400, BARE),
    ("a small method", b"get /healthz HTTP/1.1", 400, "bad_request"),
    ("letters in the path", b"GET /\xc3\xa9 HTTP/1.1", 400, "bad_request"),
    ("bytes in the path", b"GET /\xe9 HTTP/1.1", 400, BARE),
    ("a long path", b"GET /" + b"a" * 60_000 + b" HTTP/1.1", 414, "uri_too_long"),
    ("a longer path", b"GET /" + b"a" * 100_000 + b" HTTP/1.1", 414, BARE),
    (
        "a long query",
        b"GET /wallets/?" + b"a" * 5000 + b" HTTP/1.1",
        414,
        "uri_too_long",
    ),
]
FIELDS: list[tuple[str, bytes, int, str]] = [
    ("no colon", CANARY.encode(), 400, BARE),
    ("a space in the name", b"Idempotency Key: %b" % CANARY.encode(), 400, BARE),
    ("NUL", b"X-A: a\0b", 400, BARE),
    ("a folded line", b"X-A: a\r\n  folded", 400, BARE),
    ("10 KB", b"Authorization: " + b"a" * 10_240, 431, "headers_too_large"),
    ("a head of 600 KB", b"Authorization: " + b"a" * 600_000, 431, BARE),
    ("101 of them", b"\r\n".join([b"X-A: a"] * 101), 431, BARE),
    ("two hosts", b"Host: %b" % CANARY.encode(), 400, "bad_request"),
    ("two lengths", b"Content-Length: 12\r\nContent-Length: 13", 400, BARE),
    ("a negative length", b"Content-Length: -1", 400, BARE),
    ("a length in letters", b"Content-Length: 1e3", 400, BARE),
    ("a coding nobody knows", b"Transfer-Encoding: xchunked", 400, BARE),
    ("a coding for compression", b"Transfer-Encoding: gzip", 400, BARE),
    ("two codings", b"Transfer-Encoding: gzip, chunked", 400, "bad_request"),
    ("an expectation", b"Expect: %b" % CANARY.encode(), 400, "bad_request"),
]


def request(*fields: bytes, line: bytes = b"GET /healthz HTTP/1.1") -> bytes:
    """Return the bytes of a request that is the last one on its connection."""
    lines = [line, b"Host: localhost", *fields, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@marks.slow
@marks.timeout(180)
class ServerTest(SimpleTestCase):
    """The server of production…"""

    api: ClassVar[services.Api]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.api = services.Api(
            services.environment({"WEB_CONCURRENCY": "1", "METRICS_ENABLED": "true"}),
            Path(folder.name),
        )
        cls.addClassCleanup(cls.api.end)
        cls.api.start()

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send these bytes; return the status, the header fields and the body."""
        with socket.create_connection(("127.0.0.1", self.api.port), PATIENCE) as sock:
            answer = b""
            try:
                sock.sendall(data)
                while part := sock.recv(65536):
                    answer += part
            except ConnectionError:  # the server has refused the rest
                pass
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), fields, body

    def assert_refused(self, data: bytes, status: int, code: str) -> None:
        found, fields, body = self.send(data)
        self.assertEqual(found, status, body)
        self.assertEqual(int(fields["content-length"]), len(body))
        self.assertEqual(fields["connection"], "close")
        if code == BARE:
            self.assertEqual(body, b"")
            return
        self.assertEqual(fields["content-type"], "application/problem+json")
        problem = json.loads(body)
        self.assertEqual((problem["status"], problem["code"]), (status, code))
        self.assertNotIn(CANARY, body.decode())

    def test_refuses_invalid_http(self) -> None:
        for name, line, status, code in LINES:
            with self.subTest(name):
                self.assert_refused(request(line=line), status, code)

    def test_refuses_invalid_fields(self) -> None:
        for name, field, status, code in FIELDS:
            with self.subTest(name):
                self.assert_refused(request(field), status, code)

    def test_refuses_invalid_chunks(self) -> None:
        fields = (b"Content-Type: application/json", b"Transfer-Encoding: chunked")
        head = request(*fields, line=b"POST /wallets/ HTTP/1.1")
        for chunks in (b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}}\r\n0\r\n\r\n", b"-1\r\n"):
            with self.subTest(chunks):
                self.assert_refused(head + chunks, 400, "body_incomplete")

    def test_reads_one_request_where_two_could_be_seen(self) -> None:
        """With a length and chunks, the chunks count; nothing after them is read."""
        both = b"Content-Length: 6\r\nTransfer-Encoding: chunked"
        first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % both
        status, _, body = self.send(first + b"0\r\n\r\n" + request())
        self.assertEqual((status, body), (200, b'{"status":"ok"}'))

    def test_does_not_log_what_it_refuses(self) -> None:
        for _, line, *_ in LINES:
            self.send(request(line=line))
        for _, field, *_ in FIELDS:
            self.send(request(field))
        self.assertTrue(self.api.said('"status":414'))
        self.assertFalse(self.api.said(CANARY))
        self.assertFalse(self.api.said("a" * 1000))
        self.assertFalse(self.api.said('"error"'))

    def test_shows_no_figures_under_a_strangers_name(self) -> None:
        """A page whose name resolves to this machine (DNS rebinding) must learn nothing."""
        for path in (b"/metrics", b"http://evil.example/metrics"):
            with self.subTest(path):
                data = b"GET %b HTTP/1.1\r\nHost: evil.example\r\n" % path
                status, _, body = self.send(data + b"Connection: close\r\n\r\n")
                self.assertEqual(status, 400, body)
                self.assertNotIn(b"wallet_", body)

    def test_refuses_a_header_with_a_similar_name(self) -> None:
        """Dropped for its underscore, it would let a repeated deposit be made twice."""
        key = str(uuid.uuid4())
        for name in ("Idempotency_Key", "X_Idempotency_Key", "X-Idempotency_Key"):
            with self.subTest(name):
                data = request(
                    f"{name}: {key}".encode(),
                    b"Content-Type: application/json",
                    b"Content-Length: 12",
                    line=f"POST /wallets/{key}/deposit HTTP/1.1".encode(),
                )
                status, _, body = self.send(data + b'{"amount":5}')
                self.assertEqual(status, 400, body)
                problem = json.loads(body)
                self.assertEqual(problem["code"], "idempotency_key_invalid")
                self.assertIn("means nothing here", problem["detail"])

    def test_takes_no_header_for_one_with_a_similar_name(self) -> None:
        """A proxy sets or removes `X-Forwarded-For`, and lets `X_Forwarded_For` pass."""
        for line in (b"GET /console/ HTTP/1.1", b"GET /healthz HTTP/1.1"):
            for name, is_taken in ((b"X-Request-ID", True), (b"X_Request_ID", False)):
                with self.subTest(name, line=line):
                    field = name + b": 0123456789abcdef"
                    _, fields, _ = self.send(request(field, line=line))
                    taken = fields["x-request-id"] == "0123456789abcdef"
                    self.assertEqual(taken, is_taken)

    def test_takes_no_path_from_a_header(self) -> None:
        """Else a client behind a proxy on this machine could choose another path."""
        for field in (
            b"SCRIPT_NAME: /x",
            b"PATH_INFO: /metrics",
            b"Script-Name: /x",
            b"Path-Info: /metrics",
        ):
            status, _, body = self.send(request(field))
            self.assertEqual((status, body), (200, b'{"status":"ok"}'))
            # Django answers with links, which show the path that it has read.
            line = b"GET /console/ HTTP/1.1"
            status, fields, _ = self.send(request(field, line=line))
            where = "/console/login?next=%2Fconsole%2F"
            self.assertEqual((status, fields["location"]), (302, where))


@marks.slow
@marks.timeout(180)
class KilledTest(SimpleTestCase):
    def test_leaves_no_process_behind(self) -> None:
        """It would answer together with the processes of the next server."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        api = services.Api(
            services.environment({"WEB_CONCURRENCY": "2"}), Path(folder.name)
        )
        self.addCleanup(api.end)
        api.start()
        self.assertEqual(len(children_of(api.pid)), 2)
        os.kill(api.pid, signal.SIGKILL)
        wait_until(
            lambda: not listens(api.port), seconds=PATIENCE, what="the processes end"
        )


def gunicorn(folder: Path) -> tuple[Process, int]:
    """Start gunicorn with the test's database; return it and its port."""
    port = free_port()
    python = (sys.executable, "-m")
    server = Process(
        "gunicorn",
        [*python, "gunicorn", "wallet.wsgi", "-b", f"127.0.0.1:{port}"],
        env=services.environment(database_environment() | {"WEB_CONCURRENCY": "1"}),
        log=folder / "gunicorn.log",
    )
    server.start()
    wait_until(lambda: listens(port), seconds=PATIENCE, what="gunicorn to listen")
    return server, port


@marks.slow
@marks.timeout(180)
class GunicornTest(CommittingTestCase):
    """`gunicorn wallet.wsgi`, with the defaults of gunicorn…"""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.server, self.port = gunicorn(Path(folder.name))
        self.addCleanup(self.server.end)

    def deposit(  # type: ignore[override]
        self, amount: Any, key: str, header: str = "Idempotency-Key"
    ) -> tuple[int, dict[str, str], Any]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE)
        self.addCleanup(client.close)
        fields = {"Content-Type": "application/json", header: key}
        path = f"/wallets/{self.alice.uuid}/deposit"
        client.request("POST", path, json.dumps({"amount": amount}), fields)
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), _read(answer)

    def test_serves_deposits(self) -> None:
        key = str(uuid.uuid4())
        status, fields, made = self.deposit(5, key)
        self.assertEqual((status, made["wallet"]["balance"]), (200, 5))
        self.assertNotIn("Idempotent-Replayed", fields)
        status, fields, again = self.deposit(5, key)
        self.assertEqual((status, again), (200, made))
        self.assertEqual(fields["Idempotent-Replayed"], "true")
        status, _, problem = self.deposit(-5, str(uuid.uuid4()))
        self.assertEqual((status, problem["code"]), (400, "amount_invalid"))
        self.assert_money(self.alice, balance=5)
        self.assertFalse(self.server.said('"error"'))

    def test_reads_words_in_any_case(self) -> None:
        """As the server of production (`test_hostile_clients.py`, `HeadsTest`)."""
        for field in ({"Expect": "100-Continue"}, {"Transfer-Encoding": "Chunked"}):
            with self.subTest(field):
                client = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE)
                self.addCleanup(client.close)
                fields = {"Content-Type": "Application/JSON", **field}
                body = b"2\r\n{}\r\n0\r\n\r\n" if "Expect" not in field else b"{}"
                client.request("POST", "/wallets/", body, fields)
                self.assertEqual(client.getresponse().status, 201)

    def test_refuses_a_key_that_it_would_drop(self) -> None:
        for header in ("Idempotency_Key", "X_Idempotency_Key"):
            with self.subTest(header):
                status, _, _ = self.deposit(5, str(uuid.uuid4()), header)
                self.assertEqual(status, 400)
        self.assert_money(self.alice, balance=0)


@marks.slow
@marks.timeout(180)
class LoginTest(CommittingTestCase):
    """A login, by the server of production and by gunicorn…"""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def api(self) -> int:
        env = services.environment(database_environment() | {"WEB_CONCURRENCY": "1"})
        api = services.Api(env, self.folder)
        self.addCleanup(api.end)
        api.start()
        return api.port

    def gunicorn(self) -> int:
        server, port = gunicorn(self.folder)
        self.addCleanup(server.end)
        return port

    def log_in(self, port: int, name: str) -> tuple[int, list[str]]:
        client = http.client.HTTPConnection("127.0.0.1", port, PATIENCE)
        self.addCleanup(client.close)
        client.request("GET", "/admin/login/", headers={"Host": "localhost"})
        answer = client.getresponse()
        answer.read()
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        form = {"username": name, "password": "right"}
        form["csrfmiddlewaretoken"] = cookie.partition("=")[2]
        fields = {"Host": "localhost", "Cookie": cookie}
        fields["Content-Type"] = "application/x-www-form-urlencoded"
        client.request("POST", "/admin/login/", urlencode(form), fields)
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.headers.get_all("Set-Cookie") or []

    def test_is_made_whatever_letters_the_name_has(self) -> None:
        User.objects.create_superuser("Ольга", password="right")
        for port in (self.api(), self.gunicorn()):
            with self.subTest(port=port):
                status, cookies = self.log_in(port, "Ольга")
                self.assertEqual(status, 302)
                names = {cookie.partition("=")[0] for cookie in cookies}
                self.assertLessEqual({"sessionid", login_limit.COOKIE}, names)


def _read(answer: http.client.HTTPResponse) -> Any:
    """The JSON of an answer; gunicorn's own refusals have none."""
    is_json = answer.headers.get_content_subtype() in ("json", "problem+json")
    return json.load(answer) if is_json else answer.read()

"""The real server with hostile connections: other clients are answered.

The tests depend on one property of the server: it closes half a head without an answer.
`make attack` does the same with thousands of connections, and measures.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path
from typing import ClassVar
from unittest import skipUnless

from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase

from drills import attack, attacks, services
from drills.attacks import Target
from drills.hostile import Outcome
from wallets.asgi.django import MAX_WAITING
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, database_environment

PATIENCE = 60
MANY = 60  # more than the number of threads of any kind
LONG = 5000  # movements: more than a client's socket buffers
LONGEST = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js.map"


@skipUnless(connection.vendor == "sqlite", "the server does not know the engine")
@marks.slow
@marks.timeout(300)
class HostileClientsTest(CommittingTestCase):
    """The real server, with one process and few threads…"""

    api: ClassVar[services.Api]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        env = database_environment() | {"WEB_CONCURRENCY": "1", "WEB_THREADS": "4"}
        cls.api = services.Api(services.environment(env), Path(folder.name))
        cls.addClassCleanup(cls.api.end)
        cls.api.start()

    def setUp(self) -> None:
        super().setUp()
        for _ in range(0, LONG, 1000):
            deposit_many(
                [DepositRequest(self.bob.uuid, 1, uuid.uuid4()) for _ in range(1000)]
            )

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.api.port), PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def assert_served(self) -> None:
        """Check that a new client is answered, with and without the database, and a probe."""
        client = http.client.HTTPConnection("127.0.0.1", self.api.port, PATIENCE)
        headers = {"Content-Type": "application/json"}
        for method, path, body in (
            ("GET", "/healthz", None),
            ("GET", "/readyz", None),
            ("POST", f"/wallets/{self.alice.uuid}/deposit", json.dumps({"amount": 5})),
            ("GET", f"/wallets/{self.alice.uuid}/", None),
        ):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            client.request(method, path, body, headers | key)
            answer = client.getresponse()
            answer.read()
            self.assertEqual(answer.status, 200, f"{method} {path}")
        client.close()

    def attack(self, name: str) -> list[socket.socket]:
        """Open the connections of this attack, and send their first bytes."""
        target = Target(
            self.api.port, MANY, 0, str(self.bob.uuid), (str(self.bob.uuid),)
        )
        script = attacks.SCRIPTS[name](target)
        made = []
        for _ in range(MANY):
            made.append(sock := self.connect())
            if not script.reads:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(script.first)
        return made

    def test_serves_another_client_during_each_attack(self) -> None:
        for name in attacks.SCRIPTS:
            with self.subTest(name):
                made = self.attack(name)
                self.assert_served()
                for sock in made:
                    sock.close()

    def test_shows_its_pages_while_answers_are_not_read(self) -> None:
        """Else the login, HEAD and OPTIONS would get 503 until the clients read."""
        waiting = set()
        for _ in range(MANY):
            waiting.add(sock := socket.socket())
            self.addCleanup(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", self.api.port))
            sock.sendall(f"GET {LONGEST} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        while len(waiting) > MAX_WAITING:
            begun, _, _ = select.select(waiting, [], [], PATIENCE)
            self.assertTrue(begun, "no answer has begun")
            waiting.difference_update(begun)
        client = http.client.HTTPConnection("127.0.0.1", self.api.port, PATIENCE)
        for method, path in (
            *(("GET", "/readyz"), ("HEAD", "/readyz"), ("OPTIONS", "/readyz")),
            *(("GET", "/console/login"), ("GET", "/admin/login/"), ("HEAD", "/")),
        ):
            with self.subTest(method, path=path):
                client.request(method, path)
                answer = client.getresponse()
                answer.read()
                self.assertNotEqual(answer.status, 503)
                self.assertLess(answer.status, 400)
        client.close()

    def test_disconnects_clients_that_do_not_send_in_time(self) -> None:
        """Also if bytes keep coming. Only a complete request gets an answer."""
        head = b"POST /wallets/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        silent, half, body = self.connect(), self.connect(), self.connect()
        half.sendall(head)
        body.sendall(head + b"Content-Length: 900\r\n\r\n")
        answers = [b"", b""]
        for number, sock in enumerate((half, body)):
            sock.settimeout(1)
            for _ in range(PATIENCE):
                try:
                    sock.sendall(b"a")
                    answers[number] = answers[number] or sock.recv(100)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if answers[number]:
                    break
        self.assertEqual(answers[0], b"")
        self.assertTrue(answers[1].startswith(b"HTTP/1.1 400 "))
        self.assertEqual(silent.recv(100), b"")

    def test_goes_on_when_a_client_reads_late(self) -> None:
        """The whole answer arrives, even if its reader pauses."""
        path = f"/wallets/{self.bob.uuid}/statement/"
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/csv\r\n"
        sock = self.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
        self.assert_served()
        text = sock.makefile("rb").read()
        self.assertIn(b",closing,", text)
        self.assertEqual(text.count(b",deposit,"), LONG)

    def test_sends_100_continue_to_a_client_that_waits_for_it(self) -> None:
        for expected in (b"100-continue", b"100-Continue"):
            with self.subTest(expected):
                sock = self.connect()
                sock.sendall(
                    b"POST /wallets/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                    b"Content-Type: application/json\r\nContent-Length: 2\r\n"
                    b"Expect: %b\r\n\r\n" % expected
                )
                self.assertEqual(sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
                sock.sendall(b"{}")
                self.assertIn(b"HTTP/1.1 201 Created", sock.makefile("rb").read())


class VerdictTest(SimpleTestCase):
    def test_counts_every_failure_but_a_refusal_for_want_of_room(self) -> None:
        answers = Counter({"200": 5, "400": 4, "500": 2, "502": 1, "503": 9})
        self.assertEqual(attack.failures(Outcome(answers=answers)), 3)
        self.assertEqual(attack.failures(Outcome()), 0)
        self.assertEqual(attack.failures(None), 0)


@marks.slow
@marks.timeout(300)
class AttackDrillTest(SimpleTestCase):
    """`make attack` in its short form…"""

    def test_finds_nothing_wrong(self) -> None:
        short = ["--database", "sqlite", "--count", "60", "--seconds", "1"]
        # Generous for a busy machine; a client that is not served waits ten seconds.
        short += ["--most", "5000"]
        ended = subprocess.run(
            [sys.executable, "-m", "drills.attack", *short, "--rows", "2000"],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        for name in attacks.NAMES:
            self.assertIn(f"\n| {name} | ", ended.stdout)

"""The server's door, where plain deposits are read and answered without a thread each."""

from __future__ import annotations

import json
import queue
import socket
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.test import SimpleTestCase

from drills import services
from wallet import door as door_module
from wallet.door import Door
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, database_environment
from wallets.views.express import Incomplete

PATIENCE = 30


class FakeExpress:
    """Takes what begins with D, up to a dot, and answers it in capitals."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.fails: Exception | None = None

    def read(self, data: bytes, address: str) -> str | None:
        if not data.startswith(b"D"):
            return None
        if not data.endswith(b"."):
            raise Incomplete
        return data.decode()

    def deposit(self, asked: list[str]) -> list[bytes | None]:
        self.groups.append(asked)
        if self.fails:
            raise self.fails
        return [None if "no" in one else one.upper().encode() for one in asked]


class FakeWorker:
    """As much of gunicorn's worker as the door touches."""

    def __init__(self, *, tls: bool = False) -> None:
        self.cfg = SimpleNamespace(is_ssl=tls)
        self.wsgi = FakeExpress()
        self.alive = True
        self.nr, self.max_requests = 0, 1000
        self.log = mock.Mock()
        self.finished: list[tuple[Any, bool]] = []
        self.enqueued: list[tuple[Any, bytes]] = []
        self.deferred: queue.Queue[Callable[[], None]] = queue.Queue()
        self.method_queue = SimpleNamespace(
            defer=lambda call, *args: self.deferred.put(lambda: call(*args))
        )

    def to_a_thread(self, conn: Any, sent: bytes) -> None:
        self.enqueued.append((conn, sent))

    def finish_request(self, conn: Any, result: Future[bool]) -> None:
        self.finished.append((conn, result.result()))

    def run_deferred(self) -> None:
        self.deferred.get(timeout=PATIENCE)()


class DoorTest(SimpleTestCase):
    """The door…"""

    def setUp(self) -> None:
        self.worker = FakeWorker()
        self.express = self.worker.wsgi
        self.door = Door(self.worker)
        self.addCleanup(self.door._teller.shutdown)
        self.now = 1000.0
        clock = mock.patch.object(
            door_module.time, "monotonic", side_effect=lambda: self.now
        )
        clock.start()
        self.addCleanup(clock.stop)

    def comes(self) -> tuple[socket.socket, Any]:
        """A client's end of a connection, and the server's."""
        theirs, ours = socket.socketpair()
        for end in (theirs, ours):
            end.settimeout(PATIENCE)
            self.addCleanup(end.close)
        ours.setblocking(False)
        return theirs, mock.Mock(sock=ours, client=("192.0.2.1", 1))

    def asks(self, *texts: bytes) -> list[tuple[socket.socket, Any]]:
        """Clients that have sent this, and wait at the door."""
        clients = [self.comes() for _ in texts]
        for text, (_, conn) in zip(texts, clients, strict=True):
            self.assertTrue(self.door.takes(conn, text))
        return clients

    def serve(self) -> None:
        self.door.attend()
        self.worker.run_deferred()

    def test_answers_those_who_wait_together(self) -> None:
        clients = self.asks(b"D1.", b"D2.")
        self.serve()
        self.assertEqual(self.express.groups, [["D1.", "D2."]])
        for (theirs, conn), answer in zip(clients, (b"D1.", b"D2."), strict=True):
            head, _, rest = theirs.recv(1000).partition(b"Connection: keep-alive\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\n"))
            self.assertEqual(rest, answer)
            self.assertIn((conn, True), self.worker.finished)

    def test_serves_one_group_at_a_time(self) -> None:
        self.asks(b"D1.")
        self.door.attend()
        self.asks(b"D2.")
        self.door.attend()
        self.worker.run_deferred()
        self.assertEqual(self.express.groups, [["D1."]])
        self.now += door_module.GATHER_SECONDS
        self.serve()
        self.assertEqual(self.express.groups, [["D1."], ["D2."]])

    def test_makes_no_group_larger_than_one_transaction_may_be(self) -> None:
        with mock.patch.object(door_module, "MAX_GROUP", 2):
            self.asks(b"D1.", b"D2.", b"D3.")
            self.serve()
            self.now += door_module.GATHER_SECONDS
            self.serve()
        self.assertEqual(self.express.groups, [["D1.", "D2."], ["D3."]])

    def test_waits_a_moment_for_as_many_as_were_here_before(self) -> None:
        self.asks(b"D1.", b"D2.")
        self.serve()
        self.asks(b"D3.")
        self.door.attend()
        self.assertEqual(len(self.express.groups), 1)
        self.assertAlmostEqual(self.door.patience(1.0), door_module.GATHER_SECONDS)
        self.asks(b"D4.")
        self.serve()
        self.assertEqual(self.express.groups[1], ["D3.", "D4."])

    def test_waits_no_longer_for_who_does_not_come(self) -> None:
        self.asks(b"D1.", b"D2.")
        self.serve()
        self.asks(b"D3.")
        self.now += door_module.GATHER_SECONDS
        self.assertEqual(self.door.patience(1.0), 0)
        self.serve()
        self.assertEqual(self.express.groups[1], ["D3."])

    def test_waits_for_no_more_than_one_group_holds(self) -> None:
        with mock.patch.object(door_module, "MAX_GROUP", 2):
            self.asks(b"D1.", b"D2.", b"D3.")
            self.serve()
            self.asks(b"D4.")
            self.serve()
        self.assertEqual(self.express.groups[1], ["D3.", "D4."])

    def test_has_nobody_wait_for_a_group_that_does_not_end(self) -> None:
        """Its connection to the database hangs, and nobody knows until TCP gives up."""
        self.asks(b"D1.")
        self.door.attend()  # and its answer does not come
        ((_, waits),) = self.asks(b"D2.")
        self.now += door_module.STUCK_SECONDS
        _, conn = self.comes()
        self.assertFalse(self.door.takes(conn, b"D3."))
        self.door.attend()
        self.assertEqual(self.worker.enqueued, [(waits, b"D2.")])
        self.worker.run_deferred()
        self.assertTrue(self.door.takes(conn, b"D4."))

    def test_leaves_alone_what_it_does_not_take(self) -> None:
        _, conn = self.comes()
        for sent in (b"GET", b"D", b""):
            self.assertFalse(self.door.takes(conn, sent))
        self.door.attend()
        self.assertEqual(self.express.groups, [])

    def test_leaves_to_a_thread_what_got_no_answer(self) -> None:
        (_, refused), (theirs, done) = self.asks(b"Dno.", b"D2.")
        self.serve()
        self.assertEqual(self.worker.enqueued, [(refused, b"Dno.")])
        self.assertTrue(theirs.recv(1000).endswith(b"D2."))
        self.assertEqual(self.worker.finished, [(done, True)])

    def test_gives_up_a_connection_that_takes_no_answer(self) -> None:
        for trouble in ({"return_value": 3}, {"side_effect": BrokenPipeError}):
            ((_, conn),) = self.asks(b"D1.")
            conn.sock = mock.Mock(send=mock.Mock(**trouble))
            self.now += 1
            self.serve()
            self.assertEqual(self.worker.finished.pop(), (conn, False))

    def test_has_each_tried_alone_after_a_failure_and_shuts_for_a_while(self) -> None:
        self.express.fails = RuntimeError("database")
        clients = self.asks(b"D1.", b"D2.")
        self.serve()
        waited = [(clients[0][1], b"D1."), (clients[1][1], b"D2.")]
        self.assertEqual(self.worker.enqueued, waited)
        self.worker.log.exception.assert_called_once()
        self.express.fails = None
        for later, open_again in ((0.0, False), (door_module.SHUT_SECONDS, True)):
            self.now += later
            _, conn = self.comes()
            self.assertEqual(self.door.takes(conn, b"D3."), open_again)

    def test_is_shut_while_the_process_ends(self) -> None:
        _, conn = self.comes()
        self.worker.alive = False
        self.assertFalse(self.door.takes(conn, b"D1."))

    def test_serves_those_in_line_before_the_process_ends(self) -> None:
        ((theirs, _),) = self.asks(b"D1.")
        self.worker.alive = False
        self.serve()
        self.assertTrue(theirs.recv(1000).endswith(b"D1."))

    def test_is_shut_where_bytes_are_encrypted(self) -> None:
        door = Door(FakeWorker(tls=True))
        self.addCleanup(door._teller.shutdown)
        _, conn = self.comes()
        self.assertFalse(door.takes(conn, b"D1."))

    def test_counts_what_it_serves_until_the_process_is_replaced(self) -> None:
        self.worker.max_requests = 2
        self.asks(b"D1.")
        self.serve()
        self.assertTrue(self.worker.alive)
        self.now += 1
        self.asks(b"D2.")
        self.serve()
        self.assertFalse(self.worker.alive)

    def test_knows_no_address_of_a_client_at_a_unix_socket(self) -> None:
        _, conn = self.comes()
        conn.client = ""
        with mock.patch.object(self.express, "read", return_value=None) as read:
            self.door.takes(conn, b"D1.")
        read.assert_called_once_with(b"D1.", "")


@marks.slow
class ServedDepositTest(CommittingTestCase):
    """The real server, with one process and one thread…"""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        env = database_environment()
        env |= {"WEB_CONCURRENCY": "1", "WEB_THREADS": "1"}
        cls.api = services.Api(services.environment(env), Path(folder.name))
        cls.addClassCleanup(cls.ends_well)
        cls.api.start()

    @classmethod
    def ends_well(cls) -> None:
        ended = cls.api.end()
        said = cls.api.log.read_text()
        assert ended, said[-2000:]
        assert "Traceback" not in said, said
        assert '"stack"' not in said, said

    def setUp(self) -> None:
        super().setUp()
        # A connection's first request is a thread's; the first of all teaches the door.
        self.sock = self.connect()
        self.ask(self.sock, self.alice)

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.api.port), PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def message(
        self, wallet: Wallet, amount: int = 1, key: str = "", action: str = "deposit"
    ) -> bytes:
        body = json.dumps({"amount": amount}).encode()
        return (
            f"POST /wallets/{wallet.uuid}/{action} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: {key or uuid.uuid4()}\r\n\r\n"
        ).encode() + body

    def answer(self, sock: socket.socket) -> tuple[str, list[str], Any]:
        """The next answer: status line, headers, and what the JSON says."""
        stream = sock.makefile("rb", buffering=0)
        lines = []
        while line := stream.readline().decode().rstrip():
            lines.append(line)
        (length,) = (int(one.split()[1]) for one in lines if "ength: " in one)
        return lines[0], lines[1:], json.loads(stream.read(length) or b"")

    def ask(self, sock: socket.socket, *args: Any) -> tuple[str, list[str], Any]:
        sock.sendall(self.message(*args))
        return self.answer(sock)

    def keep_the_thread_busy(self) -> None:
        """A withdrawal whose body does not come: a thread waits seconds for it."""
        busy = self.connect()
        head, _, _ = self.message(self.bob, action="withdraw").partition(b"{")
        busy.sendall(head)

    def test_answers_deposits_while_every_thread_is_busy(self) -> None:
        self.keep_the_thread_busy()
        for balance in (2, 3, 4):
            status, _, found = self.ask(self.sock, self.alice)
            self.assertEqual(status, "HTTP/1.1 200 OK")
            self.assertEqual(found["wallet"]["balance"], balance)

    def test_answers_with_the_headers_that_a_thread_answers_with(self) -> None:
        def headers(sock: socket.socket) -> list[str]:
            _, lines, _ = self.ask(sock, self.alice)
            return [
                line
                for line in lines
                if not line.startswith(("X-Request-ID", "Content-Length", "Date"))
            ]

        door = headers(self.sock)
        thread = headers(self.connect())
        self.assertCountEqual(door, thread)

    def test_answers_what_comes_byte_by_byte(self) -> None:
        for byte in self.message(self.alice):
            self.sock.sendall(bytes([byte]))
        self.assertEqual(self.answer(self.sock)[0], "HTTP/1.1 200 OK")
        self.assert_money(self.alice, balance=2)

    def test_answers_requests_that_come_together_in_their_order(self) -> None:
        self.sock.sendall(
            b"".join(self.message(self.alice, amount) for amount in (10, 20, 30))
        )
        for balance in (11, 31, 61):
            _, _, found = self.answer(self.sock)
            self.assertEqual(found["wallet"]["balance"], balance)

    def test_answers_one_after_the_other_to_who_does_not_wait(self) -> None:
        for amount in range(1, 21):
            self.sock.sendall(self.message(self.alice, amount))
        balances = [self.answer(self.sock)[2]["wallet"]["balance"] for _ in range(20)]
        self.assertEqual(balances, sorted(balances))
        self.assert_money(self.alice, balance=211)

    def test_answers_refusals_and_replays_and_goes_on(self) -> None:
        key = str(uuid.uuid4())
        for args, status, replayed in (
            ((self.alice, 5, key), "200 OK", False),
            ((self.alice, 5, key), "200 OK", True),
            ((self.alice, 6, key), "422 Unprocessable Entity", False),
            ((self.alice, 0), "400 Bad Request", False),
            ((Wallet(uuid=uuid.uuid4()), 5), "404 Not Found", False),
            ((self.alice, 7), "200 OK", False),
        ):
            with self.subTest(args=args[1:]):
                found, lines, _ = self.ask(self.sock, *args)
                self.assertEqual(found, f"HTTP/1.1 {status}")
                self.assertEqual("Idempotent-Replayed: true" in lines, replayed)
        self.assert_money(self.alice, balance=1 + 5 + 7)

    def test_waits_for_no_client_to_close_a_connection_that_has_ended(self) -> None:
        """gunicorn waits for him two seconds, where all deposits would wait, too."""
        began = time.monotonic()
        for sent in (
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            b"no HTTP at all\r\n\r\n",
        ):
            for _ in range(4):
                lingers = self.connect()
                lingers.sendall(sent)
                answer = lingers.makefile("rb").read()  # to its end
                self.assertIn(b"Connection: close", answer)
        self.assertEqual(self.ask(self.sock, self.alice)[0], "HTTP/1.1 200 OK")
        self.assertLess(time.monotonic() - began, 10, "8 waits of 2 s in a row")

    def test_makes_the_deposit_of_who_does_not_wait_for_the_answer(self) -> None:
        key = str(uuid.uuid4())
        self.sock.sendall(self.message(self.alice, 5, key))
        self.sock.close()
        _, _, found = self.ask(self.connect(), self.alice, 5, key)
        self.assertEqual(found["wallet"]["balance"], 6)
        self.assertEqual(Transaction.objects.filter(idempotency_key=key).count(), 1)

    def test_answers_many_clients(self) -> None:
        clients = [self.connect() for _ in range(20)]
        for _ in range(3):
            for sock in clients:
                sock.sendall(self.message(self.bob))
            for sock in clients:
                self.assertEqual(self.answer(sock)[0], "HTTP/1.1 200 OK")
        self.assert_money(self.bob, balance=60)

"""The process that serves the API, one of gunicorn's: see `gunicorn.conf.py`.

Everything of gunicorn's that is used here and is not documented is tried by
`wallets.tests.test_gunicorn` and `test_door` with the real server.
"""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gunicorn.http import errors
from gunicorn.util import http_date, write_nonblock
from gunicorn.workers.gthread import ThreadWorker

# A client that goes on within this many seconds keeps the thread that has served it.
STAY_SECONDS = 0.005

# How much later a process takes a connection for each one that it has.
STEP_SECONDS = 0.0001
MOST_STEPS = 20

# As many deposits as one transaction may make.
MAX_GROUP = 64
# Seconds that a group waits for those who were in the last one. Where many asked a moment
# ago, they come again, and a few large transactions are less work than many small ones.
GATHER_SECONDS = 0.003
# Seconds in which a request that has begun to come must be there, or a thread waits for it.
BEGUN_SECONDS = 0.05
# Seconds without a door after a group has failed: each finds out for itself then.
SHUT_SECONDS = 1.0


class Worker(ThreadWorker):
    """gunicorn's worker with threads, which answers plain deposits before it needs one.

    Refuses what is no HTTP as the API refuses: by a problem that quotes nothing. gunicorn's
    own answers are HTML, 501 for a coding it does not know, and it logs what it could not
    read: a misspelt header with its value.

    Its threads stay with a connection while the client goes on and nobody waits for one.
    gthread itself hands it back to its main thread after each request: half a dozen system
    calls and two changes of threads, which took longer than Django does.
    """

    def load_wsgi(self) -> None:
        """Load the application, then open the door to it."""
        super().load_wsgi()
        self.door = Door(self)

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection; whoever serves fewer is a little quicker at it.

        Clients connect many at once and stay. Without this the process that woke first
        had thirteen of sixteen, and the other one's core nothing to do.
        """
        time.sleep(min(self.nr_conns, MOST_STEPS) * STEP_SECONDS)
        super().accept(listener)

    def on_client_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """Look at what a connection sends: at the door, or else in a thread."""
        if not self.door.takes(conn):
            self.to_a_thread(conn)

    def to_a_thread(self, conn: Any) -> None:
        """Have a thread read and answer what a waiting connection sends."""
        super().on_client_socket_readable(conn, conn.sock)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what comes; then see to those at the door."""
        super().wait_for_and_dispatch_events(self.door.patience(timeout))
        self.door.attend()

    def handle(self, conn: Any) -> Any:
        """Serve the connection's requests until it is quiet, or others wait."""
        kept = super().handle(conn)
        while kept is True and self.alive and self._goes_on(conn):
            kept = super().handle(conn)
        return kept

    def _goes_on(self, conn: Any) -> bool:
        if conn.is_http2 or self.cfg.is_ssl or self.tpool._work_queue.qsize():
            return False
        if conn.parser.unreader.buf.getvalue():
            return True
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        if not poll.poll(STAY_SECONDS * 1000):
            return False
        # Deposits go to the door.
        return b"/deposit " not in conn.sock.recv(80, socket.MSG_PEEK)

    def handle_error(
        self, req: Any, client: socket.socket, addr: Any, exc: Any
    ) -> None:
        """Answer and log an error that came before the application, or past it."""
        # Loaded with the application, by now.
        from wallets.views import problems, security

        code = _refusal(exc)
        if code == "internal_error":
            self.log.exception("request failed")
        else:
            self.log.warning("request refused: %s", type(exc).__name__)
        answer = problems.answer(
            code, headers={**security.HEADERS, "Connection": "close"}
        )
        answer.headers["Content-Length"] = str(len(answer.content))
        head = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\n".encode()
        with contextlib.suppress(OSError):  # who sends nonsense may have gone
            write_nonblock(
                client, head + answer.serialize_headers() + b"\r\n\r\n" + answer.content
            )


def _refusal(exc: Exception) -> str:
    if isinstance(exc, errors.LimitRequestLine):
        return "uri_too_long"
    if isinstance(exc, errors.LimitRequestHeaders):
        return "headers_too_large"
    ours = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    theirs = (errors.ParseException, ssl.SSLError)
    if isinstance(exc, theirs) and not isinstance(exc, ours):
        return "bad_request"
    return "internal_error"


class Door:
    """Where the main thread reads plain deposits and has them made together.

    A request for each thread, and a thread for each request, was two thirds of a deposit's
    work. Here nobody wakes for one: what has come is read in turn, one other thread makes
    one transaction of it, and all are answered. What `views.express` does not know for a
    plain deposit, or could not make, goes on to a thread with all its bytes, as if nobody
    had looked at it. Only connections that are kept alive are looked at.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._express = worker.wsgi
        self._teller = ThreadPoolExecutor(1, "teller")
        self._group: list[tuple[Any, Any, bytes]] = []
        self._line: list[tuple[Any, Any, bytes]] = []
        # As many as were here when the last group was done, and until when they are
        # waited for.
        self._expected = 0
        self._gather_until = 0.0
        # What has come of requests that are not complete, and until when it may.
        self._begun: dict[Any, tuple[bytes, float]] = {}
        # Bytes of TLS are none of a request's.
        self._open_after = float("inf") if worker.cfg.is_ssl else 0.0

    def takes(self, conn: Any) -> bool:
        """Whether what the connection has sent is seen to here; or a thread must."""
        sent, until = self._begun.pop(conn, (b"", 0.0))
        if not sent and not self._is_open():
            return False
        with contextlib.suppress(OSError):  # a thread finds out why
            sent += (received := conn.sock.recv(8192))
            if received and self._reads(conn, sent, until):
                return True
        conn.parser.unreader.unread(sent)
        return False

    def _is_open(self) -> bool:
        return self._worker.alive and time.monotonic() >= self._open_after

    def _reads(self, conn: Any, sent: bytes, until: float) -> bool:
        from wallets.views.express import Incomplete

        # At a Unix socket nobody has an address.
        address = conn.client[0] if isinstance(conn.client, tuple) else ""
        try:
            asked = self._express.read(sent, address)
        except Incomplete:
            self._begun[conn] = sent, until or time.monotonic() + BEGUN_SECONDS
            return True
        if asked is None:
            return False
        self._worker.poller.unregister(conn.sock)
        self._worker.keepalived_conns.remove(conn)
        self._line.append((conn, asked, sent))
        return True

    def patience(self, timeout: float) -> float:
        """Return how many seconds the main thread may wait for what comes."""
        if self._begun:
            timeout = min(timeout, BEGUN_SECONDS)
        if self._line and not self._group:
            timeout = min(timeout, max(self._gather_until - time.monotonic(), 0))
        return timeout

    def attend(self) -> None:
        """Let those in line be served, unless others are, or are still to come."""
        if self._begun:
            self._give_up_late()
        if self._group or not self._line:
            return
        if len(self._line) < self._expected and time.monotonic() < self._gather_until:
            return
        self._group, self._line = self._line[:MAX_GROUP], self._line[MAX_GROUP:]
        done = self._teller.submit(
            self._express.deposit, [asked for _, asked, _ in self._group]
        )
        done.add_done_callback(
            functools.partial(self._worker.method_queue.defer, self._answer)
        )

    def _give_up_late(self) -> None:
        """Have a thread wait, as it does, for what has not come in time."""
        now = time.monotonic()
        for conn, (sent, until) in list(self._begun.items()):
            if until > now:
                continue
            del self._begun[conn]
            if conn in self._worker.keepalived_conns:  # or it was closed meanwhile
                conn.parser.unreader.unread(sent)
                self._worker.to_a_thread(conn)

    def _answer(self, done: Future[list[bytes | None]]) -> None:
        """Answer the group; who got no answer goes on to a thread."""
        worker, group, self._group = self._worker, self._group, []
        try:
            answers = done.result()
        except Exception:
            worker.log.exception("deposits failed together: each is tried alone")
            answers = [None] * len(group)
            self._open_after = time.monotonic() + SHUT_SECONDS
        head = _head(int(time.time()))
        for (conn, _, sent), answer in zip(group, answers, strict=True):
            if answer is None:
                conn.parser.unreader.unread(sent)
                worker.enqueue_req(conn)
            else:
                worker.finish_request(conn, _sends(conn.sock, head + answer))
        self._expected = len(group) + len(self._line)
        self._gather_until = time.monotonic() + GATHER_SECONDS
        worker.nr += len(group)
        if worker.nr >= worker.max_requests and worker.alive:
            worker.log.info("Autorestarting worker after current request.")
            worker.alive = False


@functools.lru_cache(maxsize=1)
def _head(second: int) -> bytes:
    """What the server itself says at the top of an answer in this second."""
    return (
        "HTTP/1.1 200 OK\r\nServer: gunicorn\r\n"
        f"Date: {http_date(second)}\r\nConnection: keep-alive\r\n"
    ).encode()


def _result(value: bool) -> Future[bool]:
    future: Future[bool] = Future()
    future.set_result(value)
    return future


_KEPT, _LOST = _result(True), _result(False)


def _sends(sock: socket.socket, answer: bytes) -> Future[bool]:
    """Send; whether the connection goes on. An answer fits into any socket's buffer."""
    try:
        return _KEPT if sock.send(answer) == len(answer) else _LOST
    except OSError:
        return _LOST

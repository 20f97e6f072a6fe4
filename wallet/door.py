"""The server's door: plain deposits are read, made and answered many together."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from gunicorn.util import http_date

# As many deposits as one transaction may make.
MAX_GROUP = 64
# Seconds that a group waits for those who were in the last one. Where many asked a moment
# ago, they come again, and a few large transactions are less work than many small ones.
GATHER_SECONDS = 0.006
# Seconds without a door after a group has failed: each finds out for itself then.
SHUT_SECONDS = 1.0
# Seconds after which nobody waits for a group any more.
STUCK_SECONDS = 1.0


class _Client(NamedTuple):
    """Who waits: on which connection, for what, and all that was sent."""

    conn: Any
    asked: Any
    sent: bytes


class Door:
    """Where the main thread reads plain deposits and has them made together.

    A request for each thread, and a thread for each request, was two thirds of a deposit's
    work. Here nobody wakes for one: what has come is read in turn, one other thread makes
    one transaction of it, and all are answered. What `views.express` does not know for a
    plain deposit, or could not make, goes on to a thread with all its bytes, as if nobody
    had looked at it.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._express = worker.wsgi
        self._teller = ThreadPoolExecutor(1, "teller")
        self._group: list[_Client] = []
        self._line: list[_Client] = []
        # Since when the group is away.
        self._away_since = 0.0
        # As many as were here when the last group was done, and until when they are
        # waited for.
        self._expected = 0
        self._gather_until = 0.0
        # Bytes of TLS are none of a request's.
        self._open_after = float("inf") if worker.cfg.is_ssl else 0.0

    def takes(self, conn: Any, sent: bytes) -> bool:
        """Whether this, which the connection has sent, is seen to here; or a thread must.

        What may still become a plain deposit is not taken yet.
        """
        if not self._is_open():
            return False
        # At a Unix socket nobody has an address.
        address = conn.client[0] if isinstance(conn.client, tuple) else ""
        try:
            asked = self._express.read(sent, address)
        except EOFError:
            return False
        if asked is not None:
            self._line.append(_Client(conn, asked, sent))
        return asked is not None

    def _is_open(self) -> bool:
        now = time.monotonic()
        return self._worker.alive and now >= self._open_after and not self._is_stuck()

    def _is_stuck(self) -> bool:
        """Whether the group is away for so long that others had better not wait for it."""
        away = time.monotonic() - self._away_since
        return bool(self._group) and away >= STUCK_SECONDS

    def patience(self, timeout: float) -> float:
        """Return how many seconds the main thread may wait for what comes."""
        if self._line and not self._group:
            timeout = min(timeout, max(self._gather_until - time.monotonic(), 0))
        return timeout

    def attend(self) -> None:
        """Let those in line be served, unless others are, or are still to come."""
        if self._is_stuck():
            self._to_threads(self._line)
            self._line = []
        if self._group or not self._line:
            return
        enough = min(self._expected, MAX_GROUP)
        if len(self._line) < enough and time.monotonic() < self._gather_until:
            return
        self._group, self._line = self._line[:MAX_GROUP], self._line[MAX_GROUP:]
        self._away_since = time.monotonic()
        done = self._teller.submit(
            self._express.deposit, [client.asked for client in self._group]
        )
        done.add_done_callback(
            functools.partial(self._worker.method_queue.defer, self._answer)
        )

    def _to_threads(self, clients: Iterable[_Client]) -> None:
        for client in clients:
            self._worker.to_a_thread(client.conn, client.sent)

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
        for client, answer in zip(group, answers, strict=True):
            if answer is None:
                self._to_threads([client])
                continue
            kept = _sends(client.conn.sock, head + answer)
            worker.finish_request(client.conn, kept)
            worker.nr += 1
        self._expected = len(group) + len(self._line)
        self._gather_until = time.monotonic() + GATHER_SECONDS
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


KEPT, _LOST = _result(True), _result(False)


def _sends(sock: socket.socket, answer: bytes) -> Future[bool]:
    """Send; whether the connection goes on. Who has not read so much gets no more."""
    try:
        return KEPT if sock.send(answer) == len(answer) else _LOST
    except OSError:
        return _LOST

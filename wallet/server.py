"""The process that serves the API, one of gunicorn's: see `gunicorn.conf.py`.

Everything of gunicorn's that is used here and is not documented is tried by
`wallets.tests.test_gunicorn` and `test_door` with the real server.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import ssl
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from wallet.crowd import Crowd
from wallet.door import KEPT, Door

# A client that goes on within this many seconds keeps the thread that has served it.
STAY_SECONDS = 0.005

# Made before the processes are.
CROWD = Crowd()

# How much later a process takes a connection for each one that it has more than another.
STEP_SECONDS = 0.0005
MOST_STEPS = 4

# Seconds, and bytes, for a client to end his side of a connection that we have ended.
PART_SECONDS = 2.0
PART_BYTES = 65_536


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
        # Connections that we have ended and their clients have not.
        self.parting: deque[Any] = deque()

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection; whoever serves fewer is a little quicker at it.

        Clients connect many at once and stay. Without this the process that woke first
        had thirteen of sixteen, and the other one's core nothing to do.
        """
        lead = CROWD.lead(self.age, self.nr_conns)
        if lead:
            time.sleep(min(lead, MOST_STEPS) * STEP_SECONDS)
        super().accept(listener)
        CROWD.say(self.age, self.nr_conns)

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
        if self.alive:
            CROWD.say(self.age, self.nr_conns)
        else:
            CROWD.leave(self.age)
        while self.parting and self.parting[0].timeout <= time.monotonic():
            self._close(self.parting[0])

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Keep the connection, or part from its client: the main thread waits for nobody.

        gunicorn itself waits here, two seconds, until a client that was told that the
        connection is closed has closed his side, too.
        """
        if fs is KEPT or self.cfg.is_ssl or _says_yes(fs):
            super().finish_request(conn, fs)
            return
        self.parting.append(conn)
        conn.timeout = time.monotonic() + PART_SECONDS
        conn.may_send = PART_BYTES
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            ended = partial(self._drain, conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, ended)
        except (OSError, ValueError):  # he has gone
            self._close(conn)

    def _drain(self, conn: Any, sock: socket.socket) -> None:
        """Close the connection once its client has; what he still sends is not read."""
        with contextlib.suppress(OSError):
            sent = len(sock.recv(8192))
            conn.may_send -= sent
            if sent and conn.may_send > 0:
                return
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.parting.remove(conn)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

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


def _says_yes(fs: Future[Any]) -> bool:
    return not fs.cancelled() and fs.exception() is None and bool(fs.result())


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

"""The connections of one process: what waits for clients is no thread.

Everything of gunicorn's that is used here and is not documented is tried by
`wallets.tests.test_hostile_clients` and `test_gunicorn` with the real server.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from concurrent.futures import Future
from functools import partial
from itertools import takewhile
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from wallet import refusals
from wallet.client_socket import ClientSocket
from wallet.receiving import BodyTooLarge, Received

# With more connections than this a process takes many at once, and leaves none to others.
MANY = 100
AT_ONCE = 32

# Seconds in which a request has to come whole, from its first byte on or, on a new
# connection, from the beginning; and in which an answer has to be taken.
RECEIVE_SECONDS = 10.0
SEND_SECONDS = 10.0
READ_BYTES = 65_536
# Whole requests that wait for a thread. Whoever asks for more is told to come again; who
# asks whether the process lives has to be answered, or it is killed when it is needed.
WAITING_REQUESTS = 64
NEVER_REFUSED = b"GET /healthz "
# Bytes of all requests together that are not whole yet.
HELD_BYTES = 32 * 1024 * 1024

# Seconds, and bytes, for a client to end his side of a connection that we have ended.
PART_SECONDS = 2.0
PART_BYTES = 65_536


class Connections(ThreadWorker):
    """gunicorn's worker with threads, whose clients have one only while they are served.

    A thread begins when a request has come whole, and leaves to the main thread what the
    client does not read at once. gthread itself reads and sends in its threads, and waits
    there for each client. What has not come or gone in time is cut off. When there are too
    many connections, the one that has waited longest makes room.

    Where gunicorn itself decrypts TLS, all is as gthread has it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections in the order of their time-outs. Those that are quiet between two
        # requests are gunicorn's `keepalived_conns`.
        self.receiving: dict[Any, int] = {}  # and how many bytes have come
        self.sending: dict[Any, Any] = {}  # and what comes when all is sent
        # We have ended them and their clients have not.
        self.parting: dict[Any, int] = {}
        self._held = 0
        # Since the last line about it, and when the next one may be written.
        self._refused = 0
        self._tells_at = 0.0

    def lets_others_go_first(self) -> None:
        """Called before a connection is taken while there are few."""

    def takes(self, conn: Any, sent: bytes) -> bool:
        """Whether this, which a connection has sent, needs no thread."""
        return False

    # --- Connections come -------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take new connections: one, or many where there are many."""
        if self.cfg.is_ssl:
            super().accept(listener)
            return
        many = self.nr_conns >= MANY
        if not many:
            self.lets_others_go_first()
        for _ in range(AT_ONCE if many else 1):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            conn = TConn(self.cfg, ClientSocket(sock), address, listener.getsockname())
            conn.init()
            if self._makes_room():
                self.nr_conns += 1
                self._listen_to(conn)
            else:
                refusals.answer(conn.sock, "service_unavailable")
                conn.close()

    def _makes_room(self) -> bool:
        """Whether one more can be had; then there is a place for it."""
        if self.nr_conns + 1 < self.worker_connections:
            return True
        # Of the most numerous kind the one that has waited longest: who attacks by one
        # kind takes its places from himself.
        waiting: list[Any] = [self.keepalived_conns, self.receiving]
        waiting += [self.sending, self.parting]
        longest = max(waiting, key=len)
        if not longest:
            return False
        self._drop(next(iter(longest)))
        return True

    def _listen_to(self, conn: Any) -> None:
        self._has_time(conn, self.receiving, RECEIVE_SECONDS)
        conn.received, conn.is_heard = Received(), True
        read = partial(self.on_client_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, read)

    def _has_time(self, conn: Any, kind: dict[Any, Any], seconds: float) -> None:
        conn.timeout = time.monotonic() + seconds
        kind[conn] = 0

    # --- Requests come ----------------------------------------------------------------

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Read what a connection sends; once a request is whole: the door, or a thread."""
        if self.cfg.is_ssl:
            super().on_client_socket_readable(conn, client)
            return
        if not conn.is_heard:  # it was let go by an event a moment ago
            return
        try:
            data = conn.sock.recv_now(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(conn, data)
        else:
            self._drop(conn)

    def _take(self, conn: Any, data: bytes) -> None:
        received = conn.received
        received.add(data)
        sent = bytes(received.data)
        try:
            if self.takes(conn, sent):
                self._let_go(conn)
            elif received.is_whole() and self._has_too_much_to_do(sent):
                self._refuse(conn, "service_unavailable")
            elif received.is_whole():
                self._let_go(conn)
                self.to_a_thread(conn, sent)
            else:
                self._wait_for_more(conn)
        except (errors.ParseException, BodyTooLarge) as refusal:
            self._refuse(conn, refusals.code_of(refusal))

    def _wait_for_more(self, conn: Any) -> None:
        if conn not in self.receiving:
            self.keepalived_conns.remove(conn)
            self._has_time(conn, self.receiving, RECEIVE_SECONDS)
        received = conn.received
        self._held += len(received.data) - self.receiving[conn]
        self.receiving[conn] = len(received.data)
        if self._held > HELD_BYTES:
            largest = max(self.receiving, key=self.receiving.__getitem__)
            self._refuse(largest, "service_unavailable")
        elif received.has_head and received.expects:
            received.expects = False
            conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _has_too_much_to_do(self, sent: bytes) -> bool:
        return self.tpool._work_queue.qsize() >= WAITING_REQUESTS and not (
            sent.startswith(NEVER_REFUSED)
        )

    def to_a_thread(self, conn: Any, sent: bytes) -> None:
        """Have a thread read and answer this, which a connection has sent."""
        conn.received = Received()
        conn.parser.unreader.unread(sent)
        self.enqueue_req(conn)

    # --- Connections go ---------------------------------------------------------------

    def see_to_the_late(self) -> None:
        """Cut off who has not sent or read in time; when the process ends, the silent."""
        for conn in list(self.receiving) if not self.alive else ():
            if not conn.received.data:
                self._drop(conn)
        for conn in self._late(self.receiving):
            if conn.received.data:
                code = "body_incomplete" if conn.received.has_head else "bad_request"
                self._refuse(conn, code)
            else:
                self._drop(conn)
        for conn in self._late(self.sending) + self._late(self.parting):
            self._drop(conn)

    def _late(self, kind: dict[Any, Any]) -> list[Any]:
        now = time.monotonic()
        return list(takewhile(lambda conn: conn.timeout <= now, kind))

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Send the rest; then keep the connection, or part from its client.

        The main thread waits for nobody. gunicorn itself waits here, two seconds, until a
        client that was told that the connection is closed has closed his side, too.
        """
        if self.cfg.is_ssl:
            super().finish_request(conn, fs)
        elif conn.sock.unsent:
            self._has_time(conn, self.sending, SEND_SECONDS)
            self.sending[conn] = fs
            rest = partial(self._send_rest, conn)
            self.poller.register(conn.sock, selectors.EVENT_WRITE, rest)
        elif _says_yes(fs):
            following = conn.parser.unreader.take_buffered()
            conn.received, conn.is_heard = Received(), True
            super().finish_request(conn, fs)
            if following:
                self._take(conn, following)
        else:
            self._part(conn)

    def _send_rest(self, conn: Any, sock: Any) -> None:
        try:
            if conn in self.sending and sock.flush():
                fs = self.sending[conn]
                self._let_go(conn)
                self.finish_request(conn, fs)
        except OSError:
            self._drop(conn)

    def _part(self, conn: Any) -> None:
        self._has_time(conn, self.parting, PART_SECONDS)
        conn.may_send = PART_BYTES
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            ended = partial(self._drain, conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, ended)
        except (OSError, ValueError):  # he has gone
            self._drop(conn)

    def _drain(self, conn: Any, sock: Any) -> None:
        """Close the connection once its client has; what he still sends is not read."""
        with contextlib.suppress(OSError):
            sent = len(sock.recv_now(8192))
            conn.may_send -= sent
            if sent and conn.may_send > 0:
                return
        self._drop(conn)

    def _refuse(self, conn: Any, code: str) -> None:
        self._let_go(conn)
        self._refused += 1
        if (now := time.monotonic()) >= self._tells_at:
            self.log.warning("requests refused: %d, now: %s", self._refused, code)
            self._refused, self._tells_at = 0, now + 1
        refusals.answer(conn.sock, code)
        self._part(conn)

    def _let_go(self, conn: Any) -> None:
        """Wait for nothing of this connection any more."""
        conn.is_heard = False
        if conn in self.receiving:
            self._held -= self.receiving.pop(conn)
        elif not (self.sending.pop(conn, None) or conn in self.parting):
            with contextlib.suppress(ValueError):
                self.keepalived_conns.remove(conn)
        self.parting.pop(conn, None)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)

    def _drop(self, conn: Any) -> None:
        if conn.sock.fileno() < 0:  # an event a moment ago closed it
            return
        self._let_go(conn)
        self.nr_conns -= 1
        conn.close()


def _says_yes(fs: Future[Any]) -> bool:
    return not fs.cancelled() and fs.exception() is None and bool(fs.result())

"""The process that serves the API, one of gunicorn's: see `gunicorn.conf.py`.

Everything of gunicorn's that is used here and is not documented is tried by
`wallets.tests.test_gunicorn` and `test_door` with the real server.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Any

from gunicorn.http import errors

from wallet import refusals
from wallet.connections import READ_BYTES, Connections
from wallet.crowd import Crowd
from wallet.door import Door
from wallet.receiving import BodyTooLarge, Received

# A client that goes on within this many seconds keeps the thread that has served it.
STAY_SECONDS = 0.005

# Made before the processes are.
CROWD = Crowd()

# How much later a process takes a connection for each one that it has more than another.
STEP_SECONDS = 0.0005
MOST_STEPS = 4


class Worker(Connections):
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

    def lets_others_go_first(self) -> None:
        """Whoever serves fewer is a little quicker at taking a new connection.

        Clients connect many at once and stay. Without this the process that woke first
        had thirteen of sixteen, and the other one's core nothing to do.
        """
        lead = CROWD.lead(self.age, self.nr_conns)
        if lead:
            time.sleep(min(lead, MOST_STEPS) * STEP_SECONDS)

    def accept(self, listener: socket.socket) -> None:
        """Take new connections, and say so to the other processes."""
        super().accept(listener)
        CROWD.say(self.age, self.nr_conns)

    def takes(self, conn: Any, sent: bytes) -> bool:
        """Plain deposits are seen to at the door."""
        return self.door.takes(conn, sent)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what comes; then see to those at the door, and to who is late."""
        super().wait_for_and_dispatch_events(self.door.patience(timeout))
        self.door.attend()
        if self.alive:
            CROWD.say(self.age, self.nr_conns)
        else:
            CROWD.leave(self.age)
        self.see_to_the_late()

    def handle(self, conn: Any) -> Any:
        """Serve the connection's requests until it is quiet, or others wait."""
        kept = super().handle(conn)
        while kept is True and self.alive and self._goes_on(conn):
            kept = super().handle(conn)
        return kept

    def _goes_on(self, conn: Any) -> bool:
        """Whether the next request is there, whole, and a thread's."""
        if conn.is_http2 or self.cfg.is_ssl or self.tpool._work_queue.qsize():
            return False
        if conn.sock.unsent or conn.parser.unreader.buf.getvalue():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        if not poll.poll(STAY_SECONDS * 1000):
            return False
        following = Received()
        with contextlib.suppress(OSError, errors.ParseException, BodyTooLarge):
            following.add(conn.sock.recv_now(READ_BYTES, socket.MSG_PEEK))
            # Deposits go to the door.
            return following.is_whole() and b"/deposit " not in following.data[:80]
        return False

    def handle_error(
        self, req: Any, client: socket.socket, addr: Any, exc: Any
    ) -> None:
        """Answer and log an error that came before the application, or past it."""
        code = refusals.code_of(exc)
        if code == "internal_error":
            self.log.exception("request failed")
        else:
            self.log.warning("request refused: %s", type(exc).__name__)
        refusals.answer(client, code)

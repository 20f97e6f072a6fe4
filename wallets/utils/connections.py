"""One connection to the bank, kept alive between calls, and the two stages of a call."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress

from wallets.utils import http_answer
from wallets.utils.http_answer import BadAnswer, HttpAnswer

_READ_BYTES = 65_536
_MAX_RECEIVED = 16 * (http_answer.MAX_HEAD_BYTES + http_answer.MAX_BODY_BYTES)


class NotSent(Exception):
    """The connection never stood, or the call came too late: no byte was sent."""


class Connection:
    """A connection that stands and is kept alive. Its socket does not block."""

    def __init__(self, sock: socket.socket, *, holds_back: bool = False) -> None:
        self._sock = sock
        # TLS may have read more than it has given: the socket does not show that.
        self._holds_back = holds_back
        self._received = b""
        self.unsent = b""

    @classmethod
    def open(
        cls, host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float
    ) -> Connection:
        """Connect; blocks. Whatever fails here has sent nothing of a call.

        :raises NotSent: no connection, or no trust in who answered.
        """
        sock = None
        try:
            sock = socket.create_connection((host, port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=host)
            sock.setblocking(False)
        except Exception as error:
            if sock is not None:
                sock.close()
            raise NotSent(f"{type(error).__name__}: {error}") from error
        return cls(sock, holds_back=tls is not None)

    def request(self, message: bytes) -> None:
        """Begin to send. After this point bytes may have left."""
        self.unsent, self._received = message, b""
        self.send()

    def send(self) -> None:
        """Send what the socket takes; `unsent` is what is left."""
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.unsent = self.unsent[self._sock.send(self.unsent) :]

    def receive(self) -> HttpAnswer | None:
        """Take what has come; return the answer when it is whole.

        :raises BadAnswer: what came is no answer.
        :raises OSError: the connection broke.
        """
        ended = False
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while len(self._received) <= _MAX_RECEIVED:
                data = self._sock.recv(_READ_BYTES)
                self._received += data
                ended = not data
                if ended or not self._holds_back:
                    break
        answer = http_answer.parse(self._received, ended=ended)
        if answer is None and len(self._received) > _MAX_RECEIVED:
            raise BadAnswer("too long")
        return answer

    def fileno(self) -> int:
        """What a selector watches."""
        return self._sock.fileno()

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer: no end, nothing unasked for."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """End it; what is still on its way is lost."""
        self._sock.close()

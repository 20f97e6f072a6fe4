"""One connection to the bank, kept alive between calls, and the two stages of a call."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from wallets.utils import clock, http_answer
from wallets.utils.http_answer import BadAnswer, HttpAnswer

_READ_BYTES = 65_536
# What a peer sends at the moment it is connected to is on its way for as long as connecting
# took. Asked earlier, its answer to nothing would look like the answer to our question.
_SILENCE_SECONDS, _MAX_SILENCE_SECONDS = 0.005, 0.05
_MAX_RECEIVED = 16 * (http_answer.MAX_HEAD_BYTES + http_answer.MAX_BODY_BYTES)


class NotSent(Exception):
    """The connection never stood, or the call came too late: no byte was sent."""


class SpokeUnasked(OSError):
    """The peer sent something, or left, before it was asked anything."""


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

        :raises NotSent: no connection, no trust in who answered, or it spoke unasked.
        """
        sock = None
        began = clock.elapsed()
        try:
            sock = socket.create_connection((host, port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=host)
            _wait_in_silence(sock, clock.elapsed() - began)
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

    def take(self) -> bytes | None:
        """Take what has come, unread: empty at the peer's end, None where nothing has.

        :raises OSError: the connection broke.
        """
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return self._sock.recv(_READ_BYTES)
        return None

    def fileno(self) -> int:
        """What a selector watches."""
        return self._sock.fileno()

    def is_quiet(self) -> bool:
        """Whether nothing came that nobody asked for, and it has not ended.

        One that is not quiet must be closed: what came is thrown away. TLS is asked, not
        the socket: it may hold back an answer, and what it sends by itself is none.
        """
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """End it; what is still on its way is lost."""
        self._sock.close()


def _wait_in_silence(sock: socket.socket, connecting_took: float) -> None:
    """Give what nobody asked for the time to come.

    :raises SpokeUnasked: it came.
    """
    sock.settimeout(min(_SILENCE_SECONDS + connecting_took, _MAX_SILENCE_SECONDS))
    with suppress(TimeoutError):
        sock.recv(1)
        raise SpokeUnasked("it spoke, or left, before it was asked")

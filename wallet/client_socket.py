"""A client's socket that no thread waits at for long."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from typing import Any

# What a client has not read yet, at most: then a thread waits until he has read half.
UNREAD_BYTES = 256 * 1024
# Seconds for it. Who reads slower than that is cut off.
READ_SECONDS = 10.0
# Seconds that a thread waits for more of a body. (It begins when all is there.)
BODY_SECONDS = 5.0


class ClientSocket:
    """Stands in for the socket in gunicorn's threads. It never blocks.

    What the client does not take at once is kept, and sent by the main thread once he
    reads; only of an answer longer than `UNREAD_BYTES` a thread waits for him, and not
    for ever.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._patience: float | None = BODY_SECONDS
        self.unsent = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def setblocking(self, flag: bool) -> None:
        """It is never blocking."""

    def gettimeout(self) -> float | None:
        return self._patience

    def settimeout(self, seconds: float | None) -> None:
        """For how long `recv` waits."""
        self._patience = seconds

    def recv_now(self, size: int, flags: int = 0) -> bytes:
        """What has come; never waits.

        :raises BlockingIOError: nothing has.
        """
        return self._sock.recv(size, flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What has come, or comes within the time-out.

        :raises TimeoutError: nothing came.
        """
        seconds = BODY_SECONDS if self._patience is None else self._patience
        ends = time.monotonic() + seconds
        while True:
            with contextlib.suppress(BlockingIOError):
                return self._sock.recv(size, flags)
            if not self._can(select.POLLIN, ends):
                raise TimeoutError("timed out")

    def sendall(self, data: bytes) -> None:
        """Send; keep what the client does not take yet.

        :raises BrokenPipeError: the client has not read for too long.
        """
        self.unsent += data
        self.flush()
        if len(self.unsent) <= UNREAD_BYTES:
            return
        ends = time.monotonic() + READ_SECONDS
        while len(self.unsent) > UNREAD_BYTES // 2:
            if not self._can(select.POLLOUT, ends):
                self.unsent.clear()
                raise BrokenPipeError(errno.EPIPE, "the client does not read")
            self.flush()

    def flush(self) -> bool:
        """Send what the client takes now; whether that was all."""
        with contextlib.suppress(BlockingIOError):
            while self.unsent:
                del self.unsent[: self._sock.send(self.unsent)]
        return not self.unsent

    def _can(self, event: int, ends: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, event)
        return bool(poll.poll(max(ends - time.monotonic(), 0) * 1000))

"""One connection to the bank, kept alive between calls, and what it says unasked."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import ssl
from typing import cast

from wallets.utils import clock

# What a peer sends at the moment it is connected to is on its way for as long as connecting
# took. Asked earlier, its answer to nothing would look like the answer to our question.
_SILENCE_SECONDS, _MAX_SILENCE_SECONDS = 0.005, 0.05
# When a name's next address is tried beside one that does not answer (RFC 8305).
_NEXT_ADDRESS_SECONDS = 0.25


class NotSent(Exception):
    """The connection never stood, or the call came too late: no byte was sent."""


class Connection(asyncio.Protocol):
    """A connection that stands. Only the thread of its event loop touches it.

    A protocol and no stream: a stream keeps what comes unasked, and does not tell.
    """

    def __init__(self) -> None:
        self._received = b""  # and not read yet
        self._asked = False
        self._ended = False
        self._error: Exception | None = None
        self._heard: asyncio.Future[None] | None = None  # who waits for what comes

    @classmethod
    async def open(
        cls, host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float
    ) -> Connection:
        """Connect, and wait for a moment in silence. Nothing of a call is sent here.

        Is cancelled where that takes longer than `timeout`, in seconds.

        :raises NotSent: no connection, or no trust in who answered.
        """
        began = clock.elapsed()
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[None]", asyncio.current_task())
        timer = loop.call_later(timeout, task.cancel)
        next_address = _NEXT_ADDRESS_SECONDS if _is_name(host) else None
        try:
            _, made = await loop.create_connection(
                cls, host, port, ssl=tls, happy_eyeballs_delay=next_address
            )
        except Exception as error:
            raise NotSent(f"{type(error).__name__}: {error}") from error
        finally:
            timer.cancel()
        took = clock.elapsed() - began
        try:
            await made.listen(min(_SILENCE_SECONDS + took, _MAX_SILENCE_SECONDS))
        except asyncio.CancelledError:
            made.close()
            raise
        return made

    async def listen(self, seconds: float) -> None:
        """Wait until something comes, but no longer than this."""
        timer = asyncio.get_running_loop().call_later(seconds, self._wake)
        await self._hear()
        timer.cancel()

    def is_quiet(self) -> bool:
        """Whether nothing came that nobody asked for, and it has not ended."""
        return not self._received and not self._ended

    def send(self, message: bytes) -> None:
        """Send. After this point bytes may have left, until the connection is closed."""
        self._asked = True
        self._transport.write(message)

    @property
    def unsent(self) -> int:
        """How many bytes of what was sent have not left yet."""
        return self._transport.get_write_buffer_size()

    async def read(self) -> bytes:
        """Wait for what comes next; empty at the peer's end.

        :raises OSError: the connection broke.
        """
        await self._hear()
        if self._error is not None and not self._received:
            raise self._error
        data, self._received = self._received, b""
        return data

    def rest(self) -> None:
        """Nothing is asked any more: whatever comes from now on ends the connection."""
        self._asked = False

    def close(self) -> None:
        """End it; what is still on its way, in either direction, is lost."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, as are the next three."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._received += data
        self._wake()
        if not self._asked:
            self.close()

    def eof_received(self) -> None:
        """Note the peer's end, which is ours too."""
        self._ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end, and why."""
        self._ended, self._error = True, error
        self._wake()

    async def _hear(self) -> None:
        if not self._received and not self._ended:
            self._heard = asyncio.get_running_loop().create_future()
            await self._heard

    def _wake(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)


@functools.cache
def _is_name(host: str) -> bool:
    """Whether it has to be looked up, and may have several addresses."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False

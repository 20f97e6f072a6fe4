"""One connection to a server, kept alive between calls; notices unrequested bytes."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import ssl
from typing import cast

from wallets.utils import clock

# Bytes that a peer sends when it accepts a connection travel for as long as connecting
# took. If our request were sent earlier, they would look like its answer.
_SILENCE_SECONDS, _MAX_SILENCE_SECONDS = 0.005, 0.05
# When the next address of a name is tried beside a silent one (RFC 8305).
_NEXT_ADDRESS_SECONDS = 0.25


class NotSent(Exception):
    """There was no connection, or the call came too late: no byte was sent."""


class Connection(asyncio.Protocol):
    """An open connection. Only the thread of its event loop uses it.

    It is a protocol and no stream: a stream buffers unrequested bytes and hides them.
    """

    def __init__(self) -> None:
        self._received = b""  # and not read yet
        self._asked = False
        self._calls = 0
        self._ended = False
        self._error: Exception | None = None
        self._heard: asyncio.Future[None] | None = None  # waits for bytes or the end

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        timeout: float,
        name: str | None = None,
    ) -> Connection:
        """Connect, and watch the connection for a moment. Sends nothing of a call.

        `name` is that of the certificate, if `host` is an address that it was resolved to.
        Cancels the task if connecting takes longer than `timeout` (seconds).

        :raises NotSent: no connection, or a TLS certificate that is not trusted.
        """
        began = clock.elapsed()
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[None]", asyncio.current_task())
        timer = loop.call_later(timeout, task.cancel)
        next_address = _NEXT_ADDRESS_SECONDS if _is_name(host) else None
        try:
            _, made = await loop.create_connection(
                cls,
                host,
                port,
                ssl=tls,
                server_hostname=name if tls else None,
                happy_eyeballs_delay=next_address,
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
        """Wait until something comes, but at most this many seconds."""
        timer = asyncio.get_running_loop().call_later(seconds, self._wake)
        await self._hear()
        timer.cancel()

    def is_quiet(self) -> bool:
        """Whether no unrequested bytes came, and the connection is open."""
        return not self._received and not self._ended

    def send(self, message: bytes) -> None:
        """Send. From here on bytes may leave, until the connection is closed."""
        self._asked = True
        self._calls += 1
        self._transport.write(message)

    @property
    def reused(self) -> bool:
        """Whether it has served a call before the present one."""
        return self._calls > 1

    @property
    def unsent(self) -> int:
        """The number of bytes that are still in the buffer."""
        return self._transport.get_write_buffer_size()

    async def read(self) -> bytes:
        """Wait for the next bytes; empty at the peer's end.

        :raises OSError: the connection broke.
        """
        await self._hear()
        if self._error is not None and not self._received:
            raise self._error
        data, self._received = self._received, b""
        return data

    def rest(self) -> None:
        """Note that no answer is expected: further bytes close the connection."""
        self._asked = False

    def close(self) -> None:
        """Abort the connection; bytes in transit are lost."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, like the next three."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Store received bytes; close if no answer is expected."""
        self._received += data
        self._wake()
        if not self._asked:
            self.close()

    def eof_received(self) -> None:
        """Note the peer's end; asyncio then closes our side, too."""
        self._ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end and its reason."""
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
    """Whether the host is a name, which may have several addresses."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False

"""`python -m benchmarks.answerer PORT SECONDS`: a bank that accepts every payment.

It answers after SECONDS, on loopback, and stores nothing. So the service limits the
rate of payouts, and not the bank. The simulator of `third-party/` stores its payments
and answers fewer requests a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

# The most connections that may be opened at the same time.
BACKLOG = 2048
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


class Answerer(asyncio.Protocol):
    """One connection, with one payment at a time, as the service's client sends."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer a complete request. If it is no payment, close the connection."""
        self._received += data
        head, whole, body = self._received.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"\r\ncontent-length: ")
        if whole and not head.startswith(b"POST / "):
            self._transport.abort()
        elif whole and len(body) == int(length.partition(b"\r")[0]):
            self._received = b""
            reference = json.loads(body)["reference"]
            answer = {"data": "success", "status": 200, "reference": reference}
            text = json.dumps(answer).encode()
            self._loop.call_later(
                self._seconds, self._transport.write, _HEAD % (len(text), text)
            )


async def serve(port: int, seconds: float) -> None:
    """Answer on this port until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Answerer(seconds), "127.0.0.1", port, backlog=BACKLOG
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))

"""`python -m benchmarks.answerer PORT SECONDS`: a bank that pays whatever it is asked to.

After so many seconds, on loopback, keeping nothing. So it is the service that limits how
much is paid; the simulator of `third-party/`, which keeps books, answers fewer a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

# As many calls may begin at once.
BACKLOG = 2048
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


class Answerer(asyncio.Protocol):
    """One connection: a payment at a time, as the service's client sends them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole. What is no payment is not answered."""
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
    """Answer at this port until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Answerer(seconds), "127.0.0.1", port, backlog=BACKLOG
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))

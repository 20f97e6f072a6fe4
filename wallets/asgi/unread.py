"""Answers that are complete, and that their clients have not read: bounded in bytes."""

from __future__ import annotations

import asyncio

from wallets.asgi.types import Message, Send

# The most bytes of all unread answers of a process together.
MOST_BYTES = 32 * 1024 * 1024
# An answer is sent in parts of this size. The server takes some parts before it waits for
# the client, and keeps them as long as the client keeps the connection.
PART_BYTES = 4096


class Unread:
    """Sends complete answers, and holds at most so many bytes of them.

    If there are more, the answer whose client has read nothing for the longest time is
    cut off: its end is missing, and the server closes the connection.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0
        # The bytes of each answer; the one that has waited longest is the first.
        self._sizes: dict[asyncio.Task[None], int] = {}

    async def send(self, start: Message, body: bytearray, send: Send) -> None:
        """Send an answer, or as much of it as its client reads in time; empty the body.

        :raises Exception: what `send` raises.
        """
        # A task of its own, so that another request can end it.
        sending = asyncio.ensure_future(self._send(start, body, send))
        try:
            await asyncio.wait({sending})
        finally:
            sending.cancel()
        if not sending.cancelled():
            sending.result()

    async def _send(self, start: Message, body: bytearray, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (only tasks await)
        self.held_bytes += len(body)
        self._sizes[task] = len(body)
        try:
            await send(start)
            for at in range(0, max(len(body), 1), PART_BYTES):
                self._has_read(task)
                part = bytes(body[at : at + PART_BYTES])
                more = at + PART_BYTES < len(body)
                await send(
                    {"type": "http.response.body", "body": part, "more_body": more}
                )
        finally:
            self._forget(task)
            # Tracebacks refer to it until the next garbage collection.
            body.clear()

    def _has_read(self, task: asyncio.Task[None]) -> None:
        """Note that the client has read; make room at the cost of others."""
        self._sizes[task] = self._sizes.pop(task)
        while self.held_bytes > self._most_bytes:
            longest = next(iter(self._sizes))
            self._forget(longest)
            longest.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.held_bytes -= self._sizes.pop(task, 0)

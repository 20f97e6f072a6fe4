"""Deadlines for bodies and answers, which ASGI leaves to the application.

An application never sees a connection without a complete head. The server must close
those, and was chosen for that (docs/decisions/0020-the-server.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from wallets.asgi import heads, refusals
from wallets.asgi.types import Application, Message, Receive, Scope, Send
from wallets.asgi.watch import Watch
from wallets.utils import clock

logger = logging.getLogger(__name__)

# An answer is sent in parts of this size.
PART_BYTES = 65_536


class Ended(ConnectionError):
    """The request has ended because of its client.

    `receive` and `send` raise it in the application.
    """


@dataclass(frozen=True)
class Limits:
    """The limits of one process."""

    # Seconds from a complete head to a complete body.
    receive_seconds: float = 10.0
    # Seconds until the client has read enough for the next part of an answer.
    send_seconds: float = 10.0
    # Bytes of all incomplete bodies together.
    held_bytes: int = 32 * 1024 * 1024


class Deadlines:
    """An application whose clients cannot make it wait or fill its memory.

    - An ambiguous head is refused (`wallets.asgi.heads`).
    - `receive` returns a complete body or raises `Ended`; a part never counts as the
      whole. A late or incomplete body is answered with `body_incomplete`.
    - `send` raises `Ended` when the client does not read. Its answer then lacks its
      end, and the server closes the connection.
    - A body that comes in parts while too many bytes are held is answered with
      `service_unavailable` and Retry-After.
    - `Refused` from the application is answered with its problem. Other exceptions are
      logged and answered with `internal_error`: a server would log their messages,
      which may quote the request.
    """

    def __init__(self, application: Application, limits: Limits | None = None) -> None:
        self.application = application
        self.limits = limits or Limits()
        self.watch = Watch()
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits; the lifespan has none."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        request = _Request(self, scope, receive, send)
        try:
            length, scope = heads.check(scope)
            request.begin(length)
            await self.application(scope, request.receive, request.send)
        except refusals.Refused as refusal:
            request.refused_by = refusal.code
        except Exception:
            # An exception caused by `Ended` is no failure of the application.
            if not request.is_over:
                logger.exception("request failed")
                request.refused_by = "internal_error"
        finally:
            request.leave()
        if request.refused_by:
            await request.refuse()


class _Request:
    """One request: the bytes received so far, and whether it has ended early."""

    __slots__ = (
        *("_owner", "_scope", "_receive", "_send", "_began", "_late_at", "_length"),
        *("_got", "_held", "_is_whole", "_has_started"),
        *("is_over", "refused_by"),
    )

    def __init__(
        self, owner: Deadlines, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._owner, self._scope = owner, scope
        self._receive, self._send = receive, send
        self._began = clock.elapsed()
        self._late_at = 0.0
        self._length: int | None = 0
        self._got = self._held = 0
        self._is_whole = self._has_started = False
        self.is_over = False
        # The code of the problem, if the request is refused.
        self.refused_by = ""

    def begin(self, length: int | None) -> None:
        """Set the length of the body; None if unknown."""
        self._length = length
        self._is_whole = length == 0

    def leave(self) -> None:
        """Release the bytes that the request held."""
        self._owner.held_bytes -= self._held
        self._held = 0

    async def refuse(self) -> None:
        """Answer with the problem, unless an answer has begun."""
        if not self._has_started:
            # The client may not read this answer either.
            with contextlib.suppress(Ended):
                await refusals.answer(
                    self._scope, self._sent_in_time, self.refused_by, self._began
                )

    async def receive(self) -> Message:
        """Return the next message of ASGI; the last part of a body is marked."""
        if self.is_over:
            raise Ended
        if self._is_whole:
            return await self._receive()
        if not self._late_at:
            self._late_at = _now() + self._owner.limits.receive_seconds
        try:
            message = await self._owner.watch.until(self._late_at, self._receive())
        except TimeoutError:
            raise self._ended("body_incomplete") from None
        # Some servers report malformed chunks as a disconnect.
        if message["type"] == "http.disconnect":
            raise self._ended("body_incomplete")
        return self._takes(message)

    def _takes(self, message: Message) -> Message:
        size = len(message.get("body", b""))
        self._got += size
        if not message.get("more_body", False):
            self._is_whole = True
            self.leave()
            return message
        if self._got == self._length:
            # Complete: do not wait for an empty last part.
            self._is_whole = True
            self.leave()
            return {**message, "more_body": False}
        self._held += size
        self._owner.held_bytes += size
        if self._owner.held_bytes > self._owner.limits.held_bytes:
            raise self._ended("service_unavailable")
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application, within the deadline."""
        if self.is_over:
            raise Ended
        if message["type"] == "http.response.start":
            self._has_started = True
            if not self._is_whole:
                closes = (b"connection", b"close")
                message = {**message, "headers": [*message["headers"], closes]}
            await self._send(message)  # the start does not wait for the client
            return
        body = message.get("body", b"")
        if len(body) <= PART_BYTES:
            await self._sent_in_time(message)
            return
        # If a server gets everything at once, `send` does not wait for the client.
        last = (len(body) - 1) // PART_BYTES * PART_BYTES
        for start in range(0, last, PART_BYTES):
            part = body[start : start + PART_BYTES]
            await self._sent_in_time({**message, "body": part, "more_body": True})
        await self._sent_in_time({**message, "body": body[last:]})

    async def _sent_in_time(self, message: Message) -> None:
        late_at = _now() + self._owner.limits.send_seconds
        try:
            await self._owner.watch.until(late_at, self._send(message))
        except TimeoutError:
            raise self._ended() from None

    def _ended(self, code: str = "") -> Ended:
        self.is_over = True
        self.refused_by = code
        return Ended("the client has ended the request")


def _now() -> float:
    return asyncio.get_running_loop().time()

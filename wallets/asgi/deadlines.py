"""Ends what a client does not end: a body that does not come, an answer nobody takes.

ASGI leaves both to the application. What comes before a request's head is whole, the
server alone can end: it is chosen for that (docs/decisions/0020-the-server.md).
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

# So much of an answer is sent at a time.
PART_BYTES = 65_536


class Ended(ConnectionError):
    """The request is over, whatever the application still does: its client is to blame.

    Raised to the application by `receive` and `send`.
    """


@dataclass(frozen=True)
class Limits:
    """What one process grants its clients."""

    # Seconds from a whole head to a whole body, however many parts it comes in.
    receive_seconds: float = 10.0
    # Seconds for the client to take enough that the next part of an answer may be sent.
    send_seconds: float = 10.0
    # Bytes of all bodies that are not whole yet.
    held_bytes: int = 32 * 1024 * 1024


class Deadlines:
    """An application whose clients cannot keep it waiting, nor fill its memory.

    - A head that could be understood in two ways is refused (`wallets.asgi.heads`).
    - `receive` returns a body to its end or raises `Ended`: a part of one is never taken
      for the whole. A body that is late or broken off is answered by `body_incomplete`.
    - `send` raises `Ended` when the client does not take what is sent. What it has got of
      the answer then lacks its end, and the server closes the connection.
    - A body that comes when too many bytes are held already is answered by
      `service_unavailable` with Retry-After, unless it comes at once.
    - `Refused` from the application is answered by its problem. What else it raises is
      logged and answered by `internal_error`: a server would write its message, which may
      quote anything, into the log.
    """

    def __init__(self, application: Application, limits: Limits | None = None) -> None:
        self.application = application
        self.limits = limits or Limits()
        self.watch = Watch()
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits; the process's own life has none."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        request = _Request(self, scope, receive, send)
        try:
            request.begin(heads.body_length(scope))
            await self.application(
                heads.without_ambiguous_names(scope), request.receive, request.send
            )
        except refusals.Refused as refusal:
            request.refused_by = refusal.code
        except Exception:
            # What it raises because of `Ended` says nothing about the application.
            if not request.is_over:
                logger.exception("request failed")
                request.refused_by = "internal_error"
        finally:
            request.leave()
        if request.refused_by:
            await request.refuse()


class _Request:
    """One request: how much of it has come, and whether it is over before its time."""

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
        # The code of the problem that answers it, if it is refused.
        self.refused_by = ""

    def begin(self, length: int | None) -> None:
        """Take note of how long the body is; None if only its end will tell."""
        self._length = length
        self._is_whole = length == 0

    def leave(self) -> None:
        """Give back what the request held."""
        self._owner.held_bytes -= self._held
        self._held = 0

    async def refuse(self) -> None:
        """Answer by the problem that refuses it, unless an answer has begun."""
        if not self._has_started:
            # A client that does not take this answer either has had its chance.
            with contextlib.suppress(Ended):
                await refusals.answer(
                    self._scope, self._sent_in_time, self.refused_by, self._began
                )

    async def receive(self) -> Message:
        """Return what comes next, as ASGI says; a body's last part says that it is."""
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
        # Some servers say of malformed chunks, too, that the client has gone.
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
            # Spares waiting for an empty part.
            self._is_whole = True
            self.leave()
            return {**message, "more_body": False}
        self._held += size
        self._owner.held_bytes += size
        if self._owner.held_bytes > self._owner.limits.held_bytes:
            raise self._ended("service_unavailable")
        return message

    async def send(self, message: Message) -> None:
        """Send what the application answers, in time."""
        if self.is_over:
            raise Ended
        if message["type"] == "http.response.start":
            self._has_started = True
            if not self._is_whole:
                closes = (b"connection", b"close")
                message = {**message, "headers": [*message["headers"], closes]}
            await self._send(message)  # nothing waits for it
            return
        body = message.get("body", b"")
        if len(body) <= PART_BYTES:
            await self._sent_in_time(message)
            return
        # A server that is given all at once has nothing to wait for.
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

"""Passes requests to Django: console, admin, documents and unknown paths.

Django's ASGI handler opens a database connection for every request of a synchronous
view. Its WSGI handler runs in a bounded number of threads here, and each thread keeps
its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from a2wsgi import WSGIMiddleware

from wallets.asgi import bodies
from wallets.asgi.bounded import Bounded
from wallets.asgi.deadlines import PART_BYTES
from wallets.asgi.types import Message, Receive, Scope, Send
from wallets.asgi.unread import Unread

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

# The most bytes of a body. Every limit of a page or an endpoint is lower.
MAX_BODY_BYTES = 320 * 1024
# The most requests that wait for a thread; more are refused. A page of the console asks for
# five files. Each more keeps the threads busy for longer against the event loop.
MAX_WAITING = 8
# The longest answer that is made whatever its client reads: every file is shorter.
MAX_KEPT_BYTES = 4 * 1024 * 1024
_ENDED = "wallets.ended"
_QUERY_SAFE = bytes(range(0x21, 0x7F)).decode()


class DjangoApplication:
    """An ASGI application that runs Django's WSGI handler in so many threads.

    A request holds its thread, and its place among those that wait, until Django has made
    the answer. Only an answer whose length Django does not know, an export, is made while
    it is read; `views.http.exports` bounds those.
    """

    def __init__(
        self,
        handler: Callable[[Environ, StartResponse], Iterable[bytes]],
        *,
        threads: int,
    ) -> None:
        self._handler = handler
        bridge: Any = WSGIMiddleware(self._serve, workers=threads)  # type: ignore[arg-type]
        self._bridge = Bounded(bridge, threads + MAX_WAITING)
        self._unread = Unread()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        The body is read before a thread is used, so slow clients hold no thread.
        """
        try:
            body = await bodies.read(receive, MAX_BODY_BYTES)
        except bodies.ClientGone:
            return
        await self.answer(scope, body, send)

    async def answer(self, scope: Scope, body: bytes, send: Send) -> None:
        """Answer one request whose body has been read."""
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        answer = _Answer(send)

        async def receive() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        environ = _plain(scope, body) | {_ENDED: answer}
        await self._bridge(environ, receive, answer.take)
        if answer.ended_by is not None:
            raise answer.ended_by
        if answer.start is not None:
            await self._unread.send(answer.start, answer.body, send)

    def _serve(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterator[bytes]:
        scope = environ["asgi.scope"]
        # As WSGI defines it: bytes in Latin-1, not decoded text.
        environ["PATH_INFO"] = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
        environ["RAW_URI"] = scope["raw_path"].decode("latin-1")
        answer = self._handler(environ, start_response)
        try:
            for part in answer:
                if scope[_ENDED].ended_by is not None:
                    return
                yield part
        finally:
            if hasattr(answer, "close"):
                answer.close()


class _Answer:
    """One answer: kept while it is short, then sent message by message."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._room = 0
        # What is kept: how it starts (None: nothing is kept any more), and its body.
        self.start: Message | None = None
        self.body = bytearray()
        # Why the client gets no more of the answer; None while it does.
        self.ended_by: Exception | None = None

    async def take(self, message: Message) -> None:
        """Keep the message, or send it: then the thread waits for the client."""
        if message["type"] == "http.response.start":
            self.start, self._room = message, _room_of(message)
            return
        if self.start is not None:
            if len(self.body) + len(message["body"]) <= self._room:
                self.body += message["body"]
                return
            await self._pass_on(self.start)
            if self.body:
                await self._pass_on({**message, "body": bytes(self.body)})
            self.start, self.body = None, bytearray()
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        # After the end the bridge's thread must not wait for ever.
        if self.ended_by is None:
            try:
                await self._send(message)
            except Exception as error:  # noqa: BLE001 (raised by `answer`)
                self.ended_by = error


def _room_of(start: Message) -> int:
    """Return how many bytes of the answer are kept."""
    length = dict(start["headers"]).get(b"content-length", b"")
    is_short = length.isdigit() and int(length) <= MAX_KEPT_BYTES
    return MAX_KEPT_BYTES if is_short else PART_BYTES


def _plain(scope: Scope, body: bytes) -> Scope:
    """Return the scope with the body's length and an ASCII query.

    WSGI would take `Idempotency_Key` for the key itself, so it gets another name.
    """
    headers = [
        (name.replace(b"_", b"--"), value)
        for name, value in scope["headers"]
        if name not in (b"transfer-encoding", b"content-length")
    ]
    announced = dict(scope["headers"]).get(b"content-length")
    length = announced or str(len(body)).encode()
    if announced or body:
        headers.append((b"content-length", length))
    return {
        **scope,
        "raw_path": scope.get("raw_path") or scope["path"].encode(),
        "query_string": quote_from_bytes(scope["query_string"], _QUERY_SAFE).encode(),
        "headers": headers,
    }

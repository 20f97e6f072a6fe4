"""Passes requests to Django: console, admin, documents and unknown paths.

Django's ASGI handler opens a database connection for every request of a synchronous
view. Its WSGI handler runs in a bounded number of threads here, and each thread keeps
its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from a2wsgi import WSGIMiddleware

from wallets.asgi import bodies
from wallets.asgi.bounded import Bounded
from wallets.asgi.types import Message, Receive, Scope, Send

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

# The most bytes of a body. Every limit of a page or an endpoint is lower.
MAX_BODY_BYTES = 320 * 1024
# The most requests that wait for a thread; more are refused. A page of the console asks for
# five files. Each more keeps the threads busy for longer against the event loop.
MAX_WAITING = 8
_ENDED = "wallets.ended"
_QUERY_SAFE = bytes(range(0x21, 0x7F)).decode()


class DjangoApplication:
    """An ASGI application that runs Django's WSGI handler in so many threads."""

    def __init__(
        self,
        handler: Callable[[Environ, StartResponse], Iterable[bytes]],
        *,
        threads: int,
    ) -> None:
        self._handler = handler
        bridge: Any = WSGIMiddleware(self._serve, workers=threads)  # type: ignore[arg-type]
        self._bridge = Bounded(bridge, threads + MAX_WAITING)

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
        ended = _Ended()

        async def receive() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send_until_ended(message: Message) -> None:
            # Otherwise the bridge's thread would wait for ever.
            if ended.by is None:
                try:
                    await send(message)
                except Exception as error:  # noqa: BLE001 (raised below)
                    ended.by = error

        environ = _plain(scope, body) | {_ENDED: ended}
        await self._bridge(environ, receive, send_until_ended)
        if ended.by is not None:
            raise ended.by

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
                if scope[_ENDED].by is not None:
                    return
                yield part
        finally:
            if hasattr(answer, "close"):
                answer.close()


@dataclass
class _Ended:
    """Why the client gets no more of the answer; None while it does."""

    by: Exception | None = None


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

"""Reads the whole body of a request, bounded."""

from __future__ import annotations

from collections.abc import Callable

from wallets.asgi.types import Receive
from wallets.views.problems.problem_response import too_large


class ClientGone(Exception):
    """The client closed its connection before the request was complete."""


async def read(receive: Receive, limit: int) -> bytes:
    """Return the body, or of a longer one the first `limit` + 1 bytes.

    :raises ClientGone: the client has closed the connection.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            return body[: limit + 1]
        if not message.get("more_body", False):
            return body


def reader(body: bytes) -> Callable[[int], bytes]:
    """Return a function that reads the body with the operation's own limit."""

    def read_body(limit: int) -> bytes:
        if len(body) > limit:
            raise too_large(limit)
        return body

    return read_body

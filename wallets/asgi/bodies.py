"""Reads a request's body whole, bounded, before anything else is done with it."""

from __future__ import annotations

from collections.abc import Callable

from wallets.asgi.types import Receive
from wallets.views.problems.problem_response import RequestRefused


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


async def read(receive: Receive, limit: int) -> bytes:
    """Return the body, or its first `limit` bytes and one more where it is longer.

    :raises ClientGone: the client has gone.
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
    """What an operation reads the body by: its own limit is judged."""

    def read_body(limit: int) -> bytes:
        if len(body) > limit:
            raise RequestRefused("content_too_large")
        return body

    return read_body

"""A small ASGI application for tests of the server and of the ASGI middleware."""

from __future__ import annotations

import asyncio
import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
django.setup(set_prefix=False)

from wallets.asgi.bounded import Bounded  # noqa: E402 (needs the settings)
from wallets.asgi.deadlines import Deadlines, Limits  # noqa: E402
from wallets.asgi.types import Receive, Scope, Send  # noqa: E402

PARTS = 400  # of the long answer: more than any socket buffers
SECONDS = 1.0
LIMITS = Limits(SECONDS, SECONDS, held_bytes=100_000)
MOST = 4


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer by the path: `/body`, `/slow`, `/long`, `/fails`; any other at once."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    what = scope["path"]
    found: dict[str, object] = {"headers": len(scope["headers"]), "pid": os.getpid()}
    if what == "/body":
        found["size"] = await _size_of_body(receive)
    elif what == "/slow":
        await asyncio.sleep(1.5)
    elif what == "/fails":
        raise ValueError("what nobody may read")
    fields = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    if what == "/long":
        for _ in range(PARTS):
            part = {"type": "http.response.body", "body": b"a" * 65_536}
            await send({**part, "more_body": True})
    body = json.dumps(found).encode()
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _size_of_body(receive: Receive) -> int:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    return size


_slow = Bounded(answer, MOST)


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    chosen = _slow if scope.get("path") == "/slow" else answer
    await chosen(scope, receive, send)


application = Deadlines(_application, LIMITS)

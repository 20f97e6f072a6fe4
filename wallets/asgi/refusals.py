"""Answers of the transport in place of the application: the same problems."""

from __future__ import annotations

import functools

from wallets.asgi.types import Message, Scope, Send
from wallets.views.http import request_log, security
from wallets.views.problems import problem_response

# Retry-After of `service_unavailable`, in seconds.
RETRY_SECONDS = "1"
# The most logged characters of a refused path, which may be long.
MAX_LOGGED_PATH = 200


class Refused(Exception):
    """Raised by an application: the request is refused by the problem `code`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def answer(scope: Scope, send: Send, code: str, began: float) -> None:
    """Answer with the problem `code`, and close the connection.

    `began` is when the request began (`clock.elapsed`).
    """
    start, body = _messages(code)
    given = dict(scope["headers"]).get(request_log.HEADER.lower().encode(), b"")
    request_id = request_log.id_of(given.decode("latin-1"))
    own = (request_log.HEADER.lower().encode(), request_id.encode())
    await send({**start, "headers": [*start["headers"], own]})
    # The answer to HEAD has no body.
    await send(body if scope["method"] != "HEAD" else {**body, "body": b""})
    path = scope["path"][:MAX_LOGGED_PATH]
    request_log.write(
        scope["method"], path, start["status"], began, request_id=request_id
    )


@functools.cache
def _messages(code: str) -> tuple[Message, Message]:
    extra = {"Retry-After": RETRY_SECONDS} if code == "service_unavailable" else {}
    headers = {
        **security.HEADERS,
        "Content-Security-Policy": security.NOTHING,
        "Connection": "close",
        **extra,
    }
    found = problem_response.answer(code, headers=headers)
    found.headers["Content-Length"] = str(len(found.content))
    fields = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in found.headers.items()
    ]
    start = {
        "type": "http.response.start",
        "status": found.status_code,
        "headers": fields,
    }
    return start, {"type": "http.response.body", "body": found.content}

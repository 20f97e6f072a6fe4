"""How the server refuses what does not reach the application: as the application does."""

from __future__ import annotations

import contextlib
import functools
import ssl
from typing import Any

from gunicorn.http import errors
from gunicorn.util import write_nonblock

from wallet.receiving import BodyTooLarge


def answer(client: Any, code: str) -> None:
    """Answer by this problem, the last thing on its connection."""
    with contextlib.suppress(OSError):  # who sends nonsense may have gone
        write_nonblock(client, _message(code))


@functools.cache
def _message(code: str) -> bytes:
    # Loaded with the application, by now.
    from wallets.views import problems, security

    headers = {**security.HEADERS, "Connection": "close"}
    if code == "service_unavailable":
        headers["Retry-After"] = "1"
    found = problems.answer(code, headers=headers)
    found.headers["Content-Length"] = str(len(found.content))
    head = f"HTTP/1.1 {found.status_code} {found.reason_phrase}\r\n".encode()
    return head + found.serialize_headers() + b"\r\n\r\n" + found.content


def code_of(exc: Exception) -> str:
    """The problem that says what was wrong; an internal error if we were."""
    if isinstance(exc, errors.LimitRequestLine):
        return "uri_too_long"
    if isinstance(exc, BodyTooLarge):
        return "content_too_large"
    if isinstance(exc, errors.LimitRequestHeaders):
        return "headers_too_large"
    ours = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    theirs = (errors.ParseException, ssl.SSLError)
    if isinstance(exc, theirs) and not isinstance(exc, ours):
        return "bad_request"
    return "internal_error"

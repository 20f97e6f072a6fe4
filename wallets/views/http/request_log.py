"""One log line for each request, with an id that all lines about it share.

Never in it: bodies, query strings, header values, cookies.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from wallets.utils import clock

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
# Whatever else a client sends as an id is not ours to write down.
_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
# Asked every few seconds by machines.
_QUIET = {"/healthz", "/readyz", "/metrics"}


def log_requests(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give each request an id, its proxy's or a new one, and log how it was answered."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        began = clock.elapsed()
        with identified(request.headers.get(HEADER, "")) as request_id:
            response = get_response(request)
            response.headers.setdefault(HEADER, request_id)
            write(str(request.method), request.path, response.status_code, began)
        return response

    return middleware


@contextmanager
def identified(given: str) -> Iterator[str]:
    """The id of a request; each line that is written meanwhile has it."""
    request_id = id_of(given)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield request_id


def id_of(given: str) -> str:
    """The id that a request came with, if it is one, or else a new one."""
    # Nobody has to guess it: no secret, and no call of the system.
    return given if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def write(method: str, path: str, status: int, began: float, **more: str) -> None:
    """Write the line about a request that began at `began` (`clock.elapsed()`).

    The record is made here: `logger.log` would search the stack for the caller of each.
    """
    level = _level(path, status)
    if logger.isEnabledFor(level):
        about = {
            "name": logger.name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": "request",
            "method": method,
            "path": path,
            "status": status,
            "ms": round((clock.elapsed() - began) * 1000, 1),
        }
        logger.handle(logging.makeLogRecord(about | more))


def _level(path: str, status: int) -> int:
    if status >= 500:
        return logging.ERROR
    quiet = path in _QUIET or path.startswith("/static/")
    return logging.DEBUG if quiet else logging.INFO

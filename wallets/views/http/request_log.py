"""One log line for each request, with an id that all its lines share.

It never contains bodies, query strings, header values or cookies.
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
# The form of accepted ids; any other id of a client is not logged.
_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
# Requested every few seconds by machines: logged at level DEBUG.
_QUIET = {"/healthz", "/readyz", "/metrics"}


def log_requests(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that gives each request an id (sent or new), and logs its answer."""

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
    """Bind the id of a request to all log lines of the block."""
    request_id = id_of(given)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield request_id


def id_of(given: str) -> str:
    """Return the id of the request if its form is valid, or else a new one."""
    # The id is no secret, so a fast random number is enough.
    return given if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def write(method: str, path: str, status: int, began: float, **more: str) -> None:
    """Log the line of a request that began at `began` (`clock.elapsed`).

    The record is made here, because `logger.log` searches the stack for its caller.
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

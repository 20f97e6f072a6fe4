"""One log line for each request, with an id that all lines about it share.

Never in it: bodies, query strings, header values, cookies.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable

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
        given = request.headers.get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        began = clock.elapsed()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = get_response(request)
            response.headers.setdefault(HEADER, request_id)
            logger.log(
                _level(request, response),
                "request",
                extra={
                    "method": request.method,
                    "path": request.path,
                    "status": response.status_code,
                    "ms": round((clock.elapsed() - began) * 1000, 1),
                },
            )
        return response

    return middleware


def _level(request: HttpRequest, response: HttpResponseBase) -> int:
    if response.status_code >= 500:
        return logging.ERROR
    quiet = request.path in _QUIET or request.path.startswith("/static/")
    return logging.DEBUG if quiet else logging.INFO

"""One request as an endpoint sees it, and one answer as it writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from django.http import HttpRequest

from wallets.views.http import body

NO_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True)
class Request:
    """A request for one endpoint. No endpoint knows which transport brought it.

    `headers` has lower-case names; a header that was sent twice is joined by a comma.
    `origin` is scheme and host, as the client wrote them. `read_body` returns the body,
    or raises `RequestRefused` when it is longer than the limit it is given, in bytes, or
    cannot be read.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    origin: str
    read_body: Callable[[int], bytes]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def url_of(self, path: str) -> str:
        """The absolute URL of a path of this service."""
        return self.origin + path


class ApiResponse(NamedTuple):
    """What an endpoint answers; the transport adds what all answers have."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = NO_HEADERS
    content_type: str = "application/json"


def json_response(
    data: Any, *, status: int = 200, headers: Mapping[str, str] = NO_HEADERS
) -> ApiResponse:
    """The data as JSON."""
    return ApiResponse(orjson.dumps(data), status, headers)


def request_of(request: HttpRequest, arguments: Mapping[str, Any]) -> Request:
    """The request that Django has received."""
    return Request(
        path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers=_headers_of(request),
        origin=request.build_absolute_uri("/")[:-1],
        read_body=lambda limit: body.read_body(request, limit),
        arguments=arguments,
    )


def _headers_of(request: HttpRequest) -> dict[str, str]:
    found = {
        name[5:].replace("_", "-").lower(): value
        for name, value in request.META.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if request.META.get(name):
            found[name.replace("_", "-").lower()] = request.META[name]
    return found

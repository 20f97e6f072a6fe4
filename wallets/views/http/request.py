"""A request and an answer, as endpoints see them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from django.http import HttpRequest
from django.urls import get_script_prefix, reverse

from wallets.utils import strict_json
from wallets.utils.caller import ANYBODY, Caller
from wallets.views.http import body

NO_HEADERS: Mapping[str, str] = {}
_ANY_WALLET, _ANY_ID = UUID(int=0), 2**40


@dataclass(slots=True)
class Request:
    """A request for one endpoint, independent of the transport.

    `headers` has lower-case names; a repeated header is joined by a comma. `origin` is
    scheme and host, as the client wrote them. `read_body` returns the body; it raises
    `RequestRefused` if the body is longer than the given limit (bytes) or cannot be
    read.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    origin: str
    read_body: Callable[[int], bytes]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    # The path below which the service is mounted; only WSGI has another.
    prefix: str = "/"
    # Set by `authentication.admit`.
    caller: Caller = ANYBODY
    is_admitted: bool = False

    def url_of(self, path: str) -> str:
        """Return the absolute URL of a path of this service."""
        return self.origin + path

    def url_to(self, name: str, *arguments: UUID | int) -> str:
        """Return the absolute URL of a route of a wallet, transfer or transaction."""
        return self.origin + _form_of(name, self.prefix) % arguments


@functools.cache
def _form_of(name: str, prefix: str) -> str:
    """Return a route's path with places for its arguments.

    Kept, because Django searches all routes each time.
    """
    arguments = [_ANY_WALLET, _ANY_ID][: 1 + (name == "transaction")]
    path = reverse(name, args=arguments).replace("%", "%%")
    return path.replace(str(_ANY_WALLET), "%s").replace(str(_ANY_ID), "%d")


class ApiResponse(NamedTuple):
    """The answer of an endpoint; the transport adds the headers of all answers."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = NO_HEADERS
    content_type: str = "application/json"


def json_response(
    data: Any, *, status: int = 200, headers: Mapping[str, str] = NO_HEADERS
) -> ApiResponse:
    """Return the data as a JSON answer."""
    return ApiResponse(strict_json.dumps(data), status, headers)


def request_of(request: HttpRequest, arguments: Mapping[str, Any]) -> Request:
    """Return the request that Django has received."""
    return Request(
        path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers=_headers_of(request),
        origin=request.build_absolute_uri("/")[:-1],
        read_body=lambda limit: body.read_body(request, limit),
        arguments=arguments,
        prefix=get_script_prefix(),
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

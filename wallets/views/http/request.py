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
    # Set by `authentication.admit`.
    caller: Caller = ANYBODY
    is_admitted: bool = False

    def url_of(self, path: str) -> str:
        """Return the absolute URL of a path of this service."""
        return self.origin + path

    def url_of_wallet(self, wallet: UUID) -> str:
        """Return the absolute URL of a wallet."""
        return self.origin + _form_of("wallet", get_script_prefix()) % wallet

    def url_of_transfer(self, transfer: UUID) -> str:
        """Return the absolute URL of a transfer."""
        return self.origin + _form_of("transfer", get_script_prefix()) % transfer

    def url_of_transaction(self, wallet: UUID, transaction_id: int) -> str:
        """Return the absolute URL of a transaction."""
        form = _form_of("transaction", get_script_prefix())
        return self.origin + form % (wallet, transaction_id)


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

"""The origin of a request, and the headers of all answers, by Django's own rules.

Django is asked once for each origin and each content type, and the result is cached.
"""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from wallets.asgi.types import Scope
from wallets.views.http.security import security_headers
from wallets.views.http.wsgi import PROBES, Request

Fields = list[tuple[bytes, bytes]]


class Origin(NamedTuple):
    """Scheme and host of the service, as the client sees them."""

    url: str
    is_secure: bool


def origin_of(scope: Scope, host: str | None) -> Origin | None:
    """Return the origin of the request; None if Django must refuse it."""
    path = scope["path"] if scope["path"] in PROBES else "/"
    return _origin_of(path, scope["http_version"], scope.get("scheme", "http"), host)


@functools.lru_cache(maxsize=256)
def _origin_of(path: str, version: str, scheme: str, host: str | None) -> Origin | None:
    request = _request(path, scheme, version)
    if host is not None:
        request.META["HTTP_HOST"] = host
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return None
    try:
        return Origin(request.build_absolute_uri("/")[:-1], request.is_secure())
    except DisallowedHost:
        return None


@functools.cache
def shared_fields(content_type: str, is_secure: bool) -> Fields:
    """Return the headers that all answers of this content type have."""

    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            content_type=content_type, headers={"Cache-Control": "no-store"}
        )

    chain: Any = security_headers(
        SecurityMiddleware(XFrameOptionsMiddleware(answer))  # type: ignore[arg-type]
    )
    response = chain(_request("/", "https" if is_secure else "http", "1.1"))
    return fields_of(response.headers)


def fields_of(headers: Any) -> Fields:
    """The header fields as ASGI has them."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.items()
    ]


def _request(path: str, scheme: str, version: str) -> Request:
    return Request(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443" if scheme == "https" else "80",
            "SERVER_PROTOCOL": f"HTTP/{version}",
            "wsgi.url_scheme": scheme,
            "wsgi.input": io.BytesIO(),
        }
    )

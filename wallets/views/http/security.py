"""Security headers: what a browser may do with our pages.

Nothing is loaded from other hosts, pages have no inline scripts or styles, and no
site may frame them. A view that needs more sets the header itself.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# JSON, CSV and similar answers need nothing.
NOTHING = "default-src 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def security_headers(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that adds the headers that Django's own middleware does not have."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        kind = response.headers.get("Content-Type", "")
        policy = PAGE if kind.startswith("text/html") else NOTHING
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware

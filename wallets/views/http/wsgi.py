"""The WSGI entry, also for requests that Django itself fails on.

Django reads the charset of a Content-Type before its own error handling begins, and
decodes the URL with it. `charset=zlib`, or a parameter of RFC 2231, would end in a bare
500.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

PROBES = {"/healthz", "/readyz", "/metrics"}


class Request(WSGIRequest):
    """A request whose URL is UTF-8, whatever charset its body has.

    An encoded slash in a path does not count as a slash, so no path of ours matches.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        # gunicorn's variable with the undecoded path.
        raw_path = environ.get("RAW_URI", "").partition("?")[0]
        if "%2f" in raw_path.lower():
            environ["PATH_INFO"] = raw_path
        super().__init__(environ)

    def get_host(self) -> str:
        """Return the requested host name, if the service serves it.

        :raises DisallowedHost: it is not in ALLOWED_HOSTS, or missing (RFC 9112, 3.2).
            Health checks and scrapes use the process's address, so their paths accept
            any name here; their answers contain none. (`views.metrics` judges it.)
        """
        if self.path_info in PROBES:
            return "localhost"
        if self.META.get("SERVER_PROTOCOL") == "HTTP/1.1" and not self.META.get(
            "HTTP_HOST"
        ):
            raise DisallowedHost("HTTP/1.1 without a Host")
        return super().get_host()

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            parsed = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            # Endpoints with a body refuse it: see `views.http.body`.
            parsed = "", {}
        self.content_type, self.content_params = parsed


class Handler(WSGIHandler):
    """Django's handler with our requests."""

    request_class = Request

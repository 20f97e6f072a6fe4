"""The WSGI entry: a request that Django itself would stumble over is still answered.

Django reads the charset of a Content-Type before its own error handling begins, and
decodes the URL with it: `charset=zlib`, or a parameter of RFC 2231, ended in the server's
bare 500.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

PROBES = {"/healthz", "/readyz", "/metrics"}


class Request(WSGIRequest):
    """A request whose URL is UTF-8, whatever its Content-Type says of the body.

    An encoded slash in its path is no slash: such a path is none of ours.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        # gunicorn's name for the path before it is decoded.
        raw_path = environ.get("RAW_URI", "").partition("?")[0]
        if "%2f" in raw_path.lower():
            environ["PATH_INFO"] = raw_path
        super().__init__(environ)

    def get_host(self) -> str:
        """The name that was asked for, and that the service answers to.

        :raises DisallowedHost: if it is none of ALLOWED_HOSTS, or missing (RFC 9112,
            3.2). Who probes a process or scrapes it asks by its address, and nothing of
            the answer has a name in it.
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
            # What takes a body refuses this one: see `views.http.body`.
            parsed = "", {}
        self.content_type, self.content_params = parsed


class Handler(WSGIHandler):
    """Django's handler, with requests of ours."""

    request_class = Request

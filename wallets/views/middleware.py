"""What must hold for every answer, whoever makes it; and what only pages need."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

# Below these paths there is nobody logged in and no cookie.
API_PATHS = ("/wallets/", "/deposits/")


def without_body_for_head(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer HEAD as GET, less the body: a server in front warns of each one it drops."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if request.method == "HEAD" and isinstance(response, HttpResponse):
            # CommonMiddleware, further in, has set the Content-Length of the body.
            response.content = b""
        elif request.method == "HEAD" and isinstance(response, StreamingHttpResponse):
            response.streaming_content = ()
        return response

    return middleware


class _ForPages(MiddlewareMixin):
    """Passes the API's requests by: each of these costs them as much as reading JSON."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(API_PATHS):
            return self.get_response(request)  # type: ignore[return-value]
        return super().__call__(request)  # type: ignore[return-value]


class PageSessions(_ForPages, SessionMiddleware):
    """Django's sessions."""


class PageUsers(_ForPages, AuthenticationMiddleware):
    """Django's users."""


class PageMessages(_ForPages, MessageMiddleware):
    """Django's messages."""

"""What must hold for every answer, whoever makes it; and what only pages need."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from wallets.views.problems import problem_response

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


class WithoutHostileInput(MiddlewareMixin):
    """Refuses what no link and no form of our pages sends; the API has rules of its own.

    A body over `PAGE_MAX_BODY_BYTES` is refused by its length, before a byte of it is
    read. NUL, which no database takes in a text, is refused in a path or a query; a cookie
    that has it counts as not sent, so that nobody is locked out by one.
    """

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:
        if request.path_info.startswith(API_PATHS):
            return None
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length[:20]) > settings.PAGE_MAX_BODY_BYTES:
            return problem_response.answer("content_too_large")
        query = request.META.get("QUERY_STRING", "")
        if "\0" in request.path_info or "\0" in unquote(query):
            return problem_response.answer(
                "bad_request", "The request has NUL in a text."
            )
        for name in [name for name, value in request.COOKIES.items() if "\0" in value]:
            del request.COOKIES[name]
        return None

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """A number that no column holds: SQLite's driver says so by an OverflowError."""
        if isinstance(exception, OverflowError):
            return problem_response.answer("bad_request", "A number is too large.")
        return None


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

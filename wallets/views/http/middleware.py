"""Middleware for every answer, and middleware that only pages need."""

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

from wallets.views.http.api_paths import is_of_api
from wallets.views.problems import problem_response


def without_body_for_head(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer HEAD as GET without the body; servers warn of a body."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if request.method == "HEAD" and isinstance(response, HttpResponse):
            # CommonMiddleware, which runs earlier, has set the body's Content-Length.
            response.content = b""
        elif request.method == "HEAD" and isinstance(response, StreamingHttpResponse):
            response.streaming_content = ()
        return response

    return middleware


class WithoutHostileInput(MiddlewareMixin):
    """Refuses input that no link and no form of our pages sends, outside of the API.

    A body over `PAGE_MAX_BODY_BYTES` is refused by its announced length. NUL, which no
    database stores in text, is refused in a path or a query. A cookie with NUL is
    ignored, so that its browser is not locked out.

    The API judges its requests itself, after it has found out who calls. It has no
    cookies: none is read, and none is answered.
    """

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:
        if is_of_api(request.path_info):
            request.COOKIES = {}
            return None
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length[:20]) > settings.PAGE_MAX_BODY_BYTES:
            told = problem_response.too_large_text(settings.PAGE_MAX_BODY_BYTES)
            return problem_response.answer("content_too_large", told)
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
        """A number too large for a column: SQLite's driver raises OverflowError."""
        if isinstance(exception, OverflowError):
            return problem_response.answer("bad_request", "A number is too large.")
        return None


class _ForPages(MiddlewareMixin):
    """Skips the API's requests, because each of these costs as much as parsing JSON."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_of_api(request.path_info):
            return self.get_response(request)  # type: ignore[return-value]
        return super().__call__(request)  # type: ignore[return-value]


class PageSessions(_ForPages, SessionMiddleware):
    """Django's sessions."""


class PageUsers(_ForPages, AuthenticationMiddleware):
    """Django's users."""


class PageMessages(_ForPages, MessageMiddleware):
    """Django's messages."""

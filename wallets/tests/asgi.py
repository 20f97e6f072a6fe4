"""A test client that calls the ASGI application, in the test's own transaction."""

from __future__ import annotations

import asyncio
import io
import queue
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any
from unittest import mock
from urllib.parse import quote_from_bytes

from django import db
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.test.client import ClientHandler

from wallets.asgi.application import Application

Message = dict[str, Any]
# The characters of paths that clients do not encode.
_PLAIN = "/:@!$&'()*+,;="


class TestThread(Executor):
    """Runs work in the test's own thread, so that it sees uncommitted rows."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 (as a pool does)
                future.set_exception(error)

        self._jobs.put(work)
        return future

    def work_during(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine in another thread; do submitted work here until it ends."""
        with ThreadPoolExecutor(1) as loop:
            ended = loop.submit(asyncio.run, coroutine)
            ended.add_done_callback(lambda _: self._jobs.put(None))
            while work := self._jobs.get():
                work()
        ended.result()


class Handler(ClientHandler):
    """Calls the ASGI application. A request for Django goes to Django's own handler."""

    def __init__(self, enforce_csrf_checks: bool) -> None:
        super().__init__(enforce_csrf_checks)
        self.thread = TestThread()
        # The number of requests that Django answered.
        self.handed_on = 0
        self._application = Application(
            _Django(self),  # type: ignore[arg-type]
            lambda size, name: self.thread,
        )

    def __call__(self, environ: Message) -> HttpResponseBase:
        # Django's request replaces it by decoded text.
        self._path = environ["PATH_INFO"].encode("latin-1")
        return super().__call__(environ)

    def get_response(self, request: WSGIRequest) -> HttpResponseBase:
        self._request = request
        self._body = request.environ["wsgi.input"].read()
        self._response: HttpResponseBase | None = None
        # Old connections are kept: the test's transaction is on one.
        with mock.patch.object(db, "close_old_connections"):
            self.thread.work_during(self._ask())
        assert self._response is not None, "no answer"
        return self._response

    async def _ask(self) -> None:
        asked = [{"type": "http.request", "body": self._body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            return asked.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        scope = _scope_of(self._request, self._path)
        await self._application(scope, receive, send)
        if sent:
            self._response = _response_of(*sent)

    def ask_django(self) -> None:
        """Let Django answer the request."""
        self.handed_on += 1
        stream = io.BytesIO(self._body)
        path = self._path.decode("latin-1")
        request = WSGIRequest(
            self._request.environ | {"wsgi.input": stream, "PATH_INFO": path}
        )
        request._dont_enforce_csrf_checks = not self.enforce_csrf_checks  # type: ignore[attr-defined]
        self._response = super().get_response(request)


class _Django:
    """Replaces `DjangoApplication`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        await self.answer(scope, b"", send)

    async def answer(self, scope: Message, body: bytes, send: Any) -> None:
        handler = self._handler
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(handler.thread, handler.ask_django)


def _response_of(start: Message, body: Message) -> HttpResponse:
    headers = [
        (name.decode(), text.decode("latin-1")) for name, text in start["headers"]
    ]
    assert len(dict(headers)) == len(headers), headers
    return HttpResponse(body["body"], status=start["status"], headers=dict(headers))


def _scope_of(request: WSGIRequest, path: bytes) -> Message:
    """Return the scope as a server makes it. `path`: its bytes, decoded once."""
    environ = request.environ
    headers = [
        (name[5:].replace("_", "-").lower().encode(), _bytes(value))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            header = name.replace("_", "-").lower().encode()
            headers.append((header, _bytes(str(environ[name]))))
    # Every HTTP/1.1 request has a Host; Django's test client may omit it.
    if "HTTP_HOST" not in environ:
        headers.append((b"host", environ["SERVER_NAME"].encode()))
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": path.decode("utf-8", "replace"),
        "raw_path": quote_from_bytes(path, _PLAIN).encode(),
        "query_string": _bytes(environ["QUERY_STRING"]),
        "headers": headers,
        "scheme": environ["wsgi.url_scheme"],
        "http_version": environ["SERVER_PROTOCOL"].partition("/")[2],
        "client": ("192.0.2.7", 1),  # an address of the documentation range
        "server": ("testserver", 80),
    }


class AsgiClient(Client):
    """Django's test client, over the ASGI application."""

    def __init__(self, enforce_csrf_checks: bool = False, **options: Any) -> None:
        super().__init__(enforce_csrf_checks=enforce_csrf_checks, **options)
        self.handler = Handler(enforce_csrf_checks)


def _bytes(text: str) -> bytes:
    """Return a header's bytes; Django's test client also allows other characters."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()

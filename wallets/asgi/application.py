"""The ASGI application: batches of operations; everything else goes to Django.

A request for an operation is read here, waits for a batch of its kind, and is answered
here. No thread waits for a client, and no request waits for another request's client.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django import db
from django.conf import settings
from django.http import HttpResponse
from rest_framework.exceptions import NotAcceptable

from wallets.asgi import bodies
from wallets.asgi.django import DjangoApplication
from wallets.asgi.headers import Origin, fields_of, origin_of, shared_fields
from wallets.asgi.proxies import as_the_client_asked
from wallets.asgi.routes import ROUTES_BY_METHOD, Match, find
from wallets.asgi.types import Receive, Scope, Send
from wallets.services.requests.busy import Busy
from wallets.utils import clock, request_metrics
from wallets.utils.batching import Batcher, Single, TooManyWaiting, Work
from wallets.utils.waiters import Waiters
from wallets.views import docs, metrics
from wallets.views.http import authentication, negotiation, request_log, tenancy
from wallets.views.http.api_paths import is_of_api
from wallets.views.http.operation import Operation, prepare
from wallets.views.http.request import ApiResponse, Request
from wallets.views.http.wsgi import Handler
from wallets.views.problems import problem_response
from wallets.views.problems.from_exceptions import handle

logger = logging.getLogger(__name__)

# Threads for writes, for reads, for bulk calls, and for calls that wait for a lock. An
# operation that always waits has its own WAITERS threads. Each thread has a database
# connection once it has needed one.
WRITERS = READERS = BULK = 4
WAITERS = 4


class Application:
    """The service as one ASGI application; one instance for each process."""

    def __init__(
        self,
        django: DjangoApplication | None = None,
        pool: Callable[[int, str], Executor] = ThreadPoolExecutor,
    ) -> None:
        threads = settings.WEB_THREADS
        self._django = django or DjangoApplication(Handler(), threads=threads)
        self._pool = pool
        self._pools = {
            name: pool(size, name)
            for name, size in (
                ("writes", WRITERS),
                ("reads", READERS),
                ("bulk", BULK),
                ("waits", WAITERS),
            )
        }
        self._waiters = Waiters(self._pools["waits"], tenancy.CONCERNS_ALL)
        operations = {
            route.operation for routes in ROUTES_BY_METHOD.values() for route in routes
        }
        self._batchers = {each: self._batcher(each) for each in operations}
        self._bulk = {each: self._bulk_batcher(each) for each in operations}

    def _batcher(
        self, operation: Operation[Any, Any]
    ) -> Batcher[Any, Any] | Single[Any, Any]:
        work = _work_of(operation)
        if operation.always_waits:
            name = f"waits in {type(operation).__name__}"
            self._pools[name] = self._pool(WAITERS, name)
            return Single(work, Waiters(self._pools[name], tenancy.CONCERNS_ALL))
        pool = self._pools["reads" if operation.only_reads else "writes"]
        return Batcher(work, pool, self._waiters, operation.max_batch)

    def _bulk_batcher(self, operation: Operation[Any, Any]) -> Batcher[Any, Any]:
        """Each call is a batch; a batch of others would wait for it."""
        work = _work_of(operation)
        return Batcher(work, self._pools["bulk"], self._waiters, max_batch=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.to_thread(authentication.start)
        if settings.API_DOCS_ENABLED:
            # Making it later would delay every request of that moment.
            docs.written()
        # Loaded modules stay: exclude them from garbage collection.
        gc.collect()
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # All requests have been answered; running work has no caller any more.
        for pool in self._pools.values():
            pool.shutdown()
        request_metrics.leave()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = clock.elapsed()
        headers = _headers_of(scope)
        scope = as_the_client_asked(scope, headers)
        match = find(scope["method"], scope["path"])
        origin = origin_of(scope, headers.get("host"))
        if match is None or origin is None or _has_encoded_slash(scope):
            if is_of_api(scope["path"]):
                # No operation, so no body: it is refused, or asks for its options.
                await self._django.answer(scope, b"", send)
            else:
                await self._django(scope, receive, send)
            return
        operation = match.route.operation
        if len(operation.media_types) > 1 and not _is_json(headers, operation):
            await self._django.answer(scope, b"", send)  # such an operation has no body
            return
        request = Request(
            scope["path"],
            scope["query_string"].decode("latin-1"),
            headers,
            origin.url,
            bodies.reader(b""),
            match.arguments,
        )
        answer = _not_admitted(operation, request)
        if answer is None:
            # Only callers that may call make the process hold a body.
            if operation.max_body:
                try:
                    body = await bodies.read(receive, operation.max_body)
                except bodies.ClientGone:
                    return
                request.read_body = bodies.reader(body)
            answer = await self._answer(operation, request)
        request_id = request_log.id_of(headers.get("x-request-id", ""))
        _tell(scope, match, answer.status, began, request_id)
        await _send(answer, match, origin, request_id, send)

    async def _answer(
        self, operation: Operation[Any, Any], request: Request
    ) -> ApiResponse:
        try:
            call = prepare(operation, request)
            asked = tenancy.Asked(request.caller, call)
            if operation.needs_database:
                bulk = operation.is_bulk(call)
                batchers = self._bulk if bulk else self._batchers
                result = await batchers[operation].ask(asked)
            else:
                (result,) = tenancy.serve(operation, [asked], wait=False)
            return operation.write(request, call, result)
        except TooManyWaiting:
            return _response_of(
                problem_response.answer(
                    "service_unavailable", headers={"Retry-After": "1"}
                )
            )
        except Exception as error:  # noqa: BLE001 (a bug is logged there)
            return _problem(error, request)


def _work_of(operation: Operation[Any, Any]) -> Work[Any, Any]:
    def many(calls: Any) -> Any:
        with _connections_looked_after():
            return tenancy.serve(operation, calls, wait=False)

    def alone(call: Any, busy: Any) -> Any:
        with _connections_looked_after():
            if isinstance(busy, Busy) and busy.rest is not None:
                return busy.rest()
            (answer,) = tenancy.serve(operation, [call], wait=True)
        return answer

    def resources(call: Any, busy: Any) -> Any:
        known = busy.wallets if isinstance(busy, Busy) else None
        return known or operation.contends_for(call.call)

    return Work(
        many,
        alone,
        resources,
        is_busy=lambda answer: isinstance(answer, Busy),
        concerns_all=tenancy.CONCERNS_ALL,
    )


def _not_admitted(
    operation: Operation[Any, Any], request: Request
) -> ApiResponse | None:
    """Set the caller of the request; return the problem if nobody may call so."""
    try:
        authentication.admit(operation.scope, request)
    except Exception as error:  # noqa: BLE001 (a bug is logged there)
        return _problem(error, request)
    return None


def _problem(error: Exception, request: Request) -> ApiResponse:
    """Return the answer to an exception that is being handled."""
    found = handle(error, {"request": request})
    if found is None:
        logger.exception("request failed")
        found = problem_response.answer("internal_error")
    return _response_of(found)


def _response_of(response: HttpResponse) -> ApiResponse:
    headers = dict(response.headers)
    content_type = headers.pop("Content-Type")
    headers.pop("Cache-Control")
    return ApiResponse(response.content, response.status_code, headers, content_type)


@contextmanager
def _connections_looked_after() -> Iterator[None]:
    """Manage connections as Django's handler does: close those that are not kept."""
    db.close_old_connections()
    try:
        yield
    finally:
        db.close_old_connections()


def _headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by name; a repeated one is joined by a comma."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _has_encoded_slash(scope: Scope) -> bool:
    """Whether Django takes the path for another one; see `views.http.wsgi`."""
    return b"%2f" in scope.get("raw_path", b"").lower()


def _is_json(headers: dict[str, str], operation: Operation[Any, Any]) -> bool:
    """Whether the answer is the operation's first media type, or not acceptable."""
    try:
        chosen = negotiation.choose(headers.get("accept", ""), operation.media_types)
    except NotAcceptable:
        return True  # refused when the request is read
    return chosen == operation.media_types[0]


def _tell(
    scope: Scope, match: Match, status: int, began: float, request_id: str
) -> None:
    request_log.write(
        scope["method"], scope["path"], status, began, request_id=request_id
    )
    if settings.METRICS_ENABLED:
        metrics.count(scope["method"], match.route.name, status, began)


async def _send(
    answer: ApiResponse, match: Match, origin: Origin, request_id: str, send: Send
) -> None:
    operation = match.route.operation
    fields = [
        *shared_fields(answer.content_type, origin.is_secure),
        (b"allow", match.route.allowed),
        (b"content-length", str(len(answer.content)).encode()),
        (b"x-request-id", request_id.encode()),
        *fields_of(answer.headers),
    ]
    if len(operation.media_types) > 1:
        fields.append((b"vary", b"Accept"))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": fields,
        }
    )
    await send({"type": "http.response.body", "body": answer.content})

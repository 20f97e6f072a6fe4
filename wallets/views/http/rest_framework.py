"""The endpoints as views of the REST framework: one of the two transports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from wallets.views.http import authentication, query
from wallets.views.http.negotiation import Negotiation
from wallets.views.http.operation import Operation, prepare, run
from wallets.views.http.request import ApiResponse, request_of
from wallets.views.http.request import Request as Asked


class JSONResponse(HttpResponse):
    """A response with a written body; `data` is its content, as of a `Response`."""

    @cached_property
    def data(self) -> Any:
        """The parsed body."""
        return orjson.loads(self.content)


def response_of(answer: ApiResponse) -> HttpResponse:
    """Return the answer as Django's response."""
    return JSONResponse(
        answer.content,
        status=answer.status,
        content_type=answer.content_type,
        headers=answer.headers,
    )


def no_content() -> HttpResponse:
    """Return 204 without a body; no renderer is used."""
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]
    return response


class Endpoint(APIView):
    """A resource. Its caller, then its query parameters are checked before any method runs.

    `asked` is the request, with its caller.
    """

    content_negotiation_class = Negotiation
    # Whether anybody may call it.
    is_open: ClassVar[bool] = False
    asked: Asked

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.asked = request_of(request._request, kwargs)
        authentication.admit(self.scope_of(str(request.method)), self.asked)
        super().initial(request, *args, **kwargs)
        self.check_query(request)

    def scope_of(self, method: str) -> str | None:
        """Return the scope that a method needs; None: anybody may call it."""
        return None if self.is_open else authentication.SOMEBODY

    def check_query(self, request: Request) -> None:
        """Refuse every query parameter: this resource has none."""
        query.read(self.asked.query, {})

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Only the Allow header, which every answer has."""
        return no_content()

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class OperationView(Endpoint):
    """The view of a resource's operations: one for each of its methods."""

    operations: ClassVar[Sequence[Operation[Any, Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for operation in cls.operations:
            if not hasattr(operation, "capability"):
                raise TypeError(f"{type(operation).__name__} has no capability")
            setattr(cls, operation.method.lower(), _handler_of(operation))
        cls.is_open = all(operation.scope is None for operation in cls.operations)

    def scope_of(self, method: str) -> str | None:
        """Return the scope of the method's operation; HEAD needs that of GET."""
        served = "GET" if method == "HEAD" else method
        for operation in self.operations:
            if operation.method == served:
                return operation.scope
        return super().scope_of(method)

    def check_query(self, request: Request) -> None:
        """Do nothing: `serve` reads the parameters of the operation."""

    def serve(
        self, operation: Operation[Any, Any], request: Request, **arguments: Any
    ) -> HttpResponseBase:
        """Run the operation for this request alone."""
        call = prepare(operation, self.asked)
        return response_of(run(operation, self.asked, call))


def _handler_of(operation: Operation[Any, Any]) -> Callable[..., HttpResponseBase]:
    """Return the view's method for an operation."""

    def handle(
        view: OperationView, request: Request, **arguments: Any
    ) -> HttpResponseBase:
        return view.serve(operation, request, **arguments)

    return handle

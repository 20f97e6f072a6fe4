"""The endpoints as views of the REST framework: one of the two transports."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from wallets.views.http import query
from wallets.views.http.negotiation import Negotiation
from wallets.views.http.operation import Operation, prepare, run
from wallets.views.http.request import ApiResponse, request_of


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
    """A resource. Its query parameters are checked before any method runs."""

    content_negotiation_class = Negotiation
    # The known query parameters, with their parsers.
    known_parameters: ClassVar[Mapping[str, query.Parser]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.parameters = query.read(request.query_params, self.known_parameters)

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
    """The view of an `Operation`."""

    operation: ClassVar[Operation[Any, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.known_parameters = cls.operation.known_parameters
        method = cls.operation.method.lower()
        setattr(cls, method, lambda self, request, **args: self.serve(request, **args))

    def serve(self, request: Request, **arguments: Any) -> HttpResponseBase:
        """Run the operation for this request alone."""
        asked = request_of(request._request, arguments)
        call = prepare(self.operation, asked)
        return response_of(run(self.operation, asked, call))

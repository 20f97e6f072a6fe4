"""What every endpoint shares: its form, strict parameters, no caching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from wallets.views import parameters
from wallets.views.negotiation import Negotiation


def json_answer(
    data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """The data as JSON: what an endpoint with one form of answer needs of a renderer."""
    return HttpResponse(
        orjson.dumps(data),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def no_content() -> HttpResponse:
    """204: no body, so no renderer is asked, not even one for pages."""
    response = HttpResponse(status=204)
    del response.headers["Content-Type"]
    return response


class Endpoint(APIView):
    """One resource. Its parameters are checked before any method runs."""

    content_negotiation_class = Negotiation
    # Which query parameters it knows, and how each is read.
    known_parameters: ClassVar[Mapping[str, parameters.Parser]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.parameters = parameters.read(request.query_params, self.known_parameters)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Only the Allow header, which every answer has."""
        return no_content()

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

"""What every endpoint shares: its form, strict parameters, no caching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from wallets.views import parameters
from wallets.views.negotiation import Negotiation


class Endpoint(APIView):
    """One resource. Its parameters are checked before any method runs."""

    content_negotiation_class = Negotiation
    # Which query parameters it knows, and how each is read.
    known_parameters: ClassVar[Mapping[str, parameters.Parser]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.parameters = parameters.read(request.query_params, self.known_parameters)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Only the Allow header, which every answer has."""
        return Response(status=204)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

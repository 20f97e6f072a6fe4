"""What one endpoint does, said once: read the request, call the service, write the answer.

An operation reads and writes one request; its service call takes many, so that a
transport may gather those that are there at the same time. It knows no transport.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from django.http import QueryDict

from wallets.views.http import negotiation, query
from wallets.views.http.request import ApiResponse, Request

C = TypeVar("C")  # what is asked of the service
R = TypeVar("R")  # what the service answers


class Operation(ABC, Generic[C, R]):
    """One method of one resource. Instances keep no state."""

    method: ClassVar[str] = "GET"
    # Bytes of a body, at most; 0 where none is read.
    max_body: ClassVar[int] = 0
    # The forms of its answers, the first one for who does not say.
    media_types: ClassVar[Sequence[str]] = ("application/json",)
    # Which query parameters it knows, and how each is read.
    known_parameters: ClassVar[Mapping[str, query.Parser]] = {}
    # Whether it only reads, and whether it touches the database at all.
    only_reads: ClassVar[bool] = True
    needs_database: ClassVar[bool] = True
    # As many calls as one call of the service takes.
    max_batch: ClassVar[int] = 64
    # Whether the service waits for locks in any case: then it must keep only its like waiting.
    always_waits: ClassVar[bool] = False

    @abstractmethod
    def read(self, request: Request, query: Mapping[str, Any]) -> C:
        """Return what the request asks of the service. Touches no database.

        `query` has the parameters that were sent, parsed.

        :raises Exception: one of those that `views.problems.from_exceptions` turns into problems.
        """

    @abstractmethod
    def many(self, calls: Sequence[C], *, wait: bool) -> Sequence[R | Exception]:
        """Call the service once for all; answer each, in order.

        Unless it may `wait`, a call that another transaction stands in the way of is
        answered by `Busy`, and has to be asked again.
        """

    @abstractmethod
    def write(self, request: Request, call: C, result: R) -> ApiResponse:
        """Return the answer to a call that the service has not refused."""


def prepare(operation: Operation[C, R], request: Request) -> C:
    """Judge the request's form, then read it.

    :raises Exception: one of those that `views.problems.from_exceptions` turns into problems.
    """
    accept = request.headers.get("accept", "")
    negotiation.choose(accept, operation.media_types)
    parameters: Mapping[str, Any] = {}
    if request.query:
        parameters = query.read(QueryDict(request.query), operation.known_parameters)
    return operation.read(request, parameters)


def run(operation: Operation[C, R], request: Request, call: C) -> ApiResponse:
    """Call the service for this request alone, and wait; return the answer.

    :raises Exception: what the service refuses, and what fails.
    """
    (result,) = operation.many([call], wait=True)
    if isinstance(result, Exception):
        raise result
    return operation.write(request, call, result)

"""The definition of an endpoint: read the request, call the service, write the answer.

An operation reads and writes one request; its service call takes many, so that a
transport can batch concurrent requests. It does not depend on a transport.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from django.http import QueryDict

from wallets.views.http import negotiation, query
from wallets.views.http.request import ApiResponse, Request

C = TypeVar("C")  # the arguments of the service call
R = TypeVar("R")  # its result


class Operation(ABC, Generic[C, R]):
    """One method of one resource. Instances keep no state of requests."""

    method: ClassVar[str] = "GET"
    # The most bytes of a body; 0: none is read.
    max_body: ClassVar[int] = 0
    # The media types of its answers; the first one is the default.
    media_types: ClassVar[Sequence[str]] = ("application/json",)
    # The known query parameters, with their parsers.
    known_parameters: ClassVar[Mapping[str, query.Parser]] = {}
    # Whether it only reads, and whether it uses the database.
    only_reads: ClassVar[bool] = True
    needs_database: ClassVar[bool] = True
    # The most calls of one service call.
    max_batch: ClassVar[int] = 64
    # Whether the service always waits for locks: it then has threads of its own.
    always_waits: ClassVar[bool] = False

    @abstractmethod
    def read(self, request: Request, query: Mapping[str, Any]) -> C:
        """Return the arguments of the service call. Does not use the database.

        `query` has the parsed query parameters.

        :raises Exception: one that `views.problems.from_exceptions` maps to a problem.
        """

    @abstractmethod
    def many(self, calls: Sequence[C], *, wait: bool) -> Sequence[R | Exception]:
        """Call the service once for all; return one result each, in order.

        With `wait=False` a call that would wait for another transaction gets `Busy`,
        and must be made again.
        """

    @abstractmethod
    def write(self, request: Request, call: C, result: R) -> ApiResponse:
        """Return the answer to a call that the service has not refused."""


def prepare(operation: Operation[C, R], request: Request) -> C:
    """Check the form of the request, then read it.

    :raises Exception: one that `views.problems.from_exceptions` maps to a problem.
    """
    accept = request.headers.get("accept", "")
    negotiation.choose(accept, operation.media_types)
    parameters: Mapping[str, Any] = {}
    if request.query:
        parameters = query.read(QueryDict(request.query), operation.known_parameters)
    return operation.read(request, parameters)


def run(operation: Operation[C, R], request: Request, call: C) -> ApiResponse:
    """Call the service for this request alone, and wait; return the answer.

    :raises Exception: a refusal, or a failure.
    """
    (result,) = operation.many([call], wait=True)
    if isinstance(result, Exception):
        raise result
    return operation.write(request, call, result)

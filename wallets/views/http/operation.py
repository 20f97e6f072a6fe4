"""The definition of an endpoint: read the request, call the service, write the answer.

An operation reads and writes one request; its service call takes many, so that a
transport can batch concurrent requests. It does not depend on a transport.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from django.conf import settings

from wallets.models.wallet import Wallet
from wallets.utils.caller import Caller
from wallets.views.http import authentication, negotiation, query, tenancy
from wallets.views.http.request import ApiResponse, Request

# The capability of an operation that anybody may call.
OPEN = "open"

C = TypeVar("C")  # the arguments of the service call
R = TypeVar("R")  # its result


class Operation(ABC, Generic[C, R]):
    """One method of one resource. Instances keep no state of requests."""

    # What a caller must be allowed to use; OPEN: everybody may. There is no default, so
    # that nobody opens a path by forgetting it.
    capability: ClassVar[str]
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
    # Whether the service always waits for locks: it then has threads of its own, and
    # each call is made alone.
    always_waits: ClassVar[bool] = False

    @property
    def scope(self) -> str | None:
        """Return the permission that its caller needs; None: anybody may call it."""
        if self.capability == OPEN:
            return None
        return f"{self.capability}:{'read' if self.only_reads else 'write'}"

    @abstractmethod
    def read(self, request: Request, query: Mapping[str, Any]) -> C:
        """Return the arguments of the service call. Does not use the database.

        `query` has the parsed query parameters.

        :raises Exception: one that `views.problems.from_exceptions` maps to a problem.
        """

    @abstractmethod
    def wallets_of(self, call: C) -> Collection[UUID]:
        """Return the wallets that the call names.

        `tenancy` refuses those that the caller may not see. An operation that finds
        wallets in another way, such as a list, returns none here, and chooses by the
        caller's tenant in `many`.
        """

    def contends_for(self, call: C) -> Collection[Hashable]:
        """Return what the call may have to wait for: by default its wallets.

        Of the calls that name one of these and wait, one has a thread.
        """
        return self.wallets_of(call)

    def is_bulk(self, call: C) -> bool:
        """Whether the call may be as large as a batch: it is then made apart."""
        return False

    def without(self, call: C, unknown: AbstractSet[UUID]) -> C:
        """Return the call without what is about these wallets, which do not exist.

        By default nothing is left of it.

        :raises ObjectDoesNotExist: what the service raises for an unknown wallet.
        """
        raise Wallet.DoesNotExist(f"no wallet {min(unknown)}")

    @abstractmethod
    def many(
        self, calls: Sequence[C], *, caller: Caller, wait: bool
    ) -> Sequence[R | Exception]:
        """Call the service once for all calls of a caller; return one result each.

        With `wait=False` a call that would wait for another transaction gets `Busy`,
        and must be made again.
        """

    @abstractmethod
    def write(self, request: Request, call: C, result: R) -> ApiResponse:
        """Return the answer to a call that the service has not refused."""


class SingleOperation(Operation[C, R]):
    """A change that is made alone, because it waits for locks: each in its own thread."""

    method = "POST"
    max_body = settings.API_MAX_BODY_BYTES
    always_waits = True
    only_reads = False

    @abstractmethod
    def one(self, call: C, caller: Caller) -> R:
        """Call the service.

        :raises Exception: a refusal.
        """

    def many(
        self, calls: Sequence[C], *, caller: Caller, wait: bool
    ) -> Sequence[R | Exception]:
        """Make the change; a refusal is raised, as it is the only call."""
        return [self.one(call, caller) for call in calls]


def prepare(operation: Operation[C, R], request: Request) -> C:
    """Find out who calls, unless a transport has; check the form, then read it.

    :raises Exception: one that `views.problems.from_exceptions` maps to a problem.
    """
    if not request.is_admitted:
        authentication.admit(operation.scope, request)
    accept = request.headers.get("accept", "")
    negotiation.choose(accept, operation.media_types)
    parameters = _parameters(operation, request.query) if request.query else {}
    return operation.read(request, parameters)


@functools.lru_cache(maxsize=256)
def _parameters(operation: Operation[Any, Any], text: str) -> Mapping[str, Any]:
    """Return the parsed query parameters. Kept, because clients ask again."""
    found = query.read(text, operation.known_parameters)
    return MappingProxyType(found)


def run(operation: Operation[C, R], request: Request, call: C) -> ApiResponse:
    """Call the service for this request alone, and wait; return the answer.

    :raises Exception: a refusal, or a failure.
    """
    asked = tenancy.Asked(request.caller, call)
    (result,) = tenancy.serve(operation, [asked], wait=True)
    if isinstance(result, Exception):
        raise result
    return operation.write(request, call, result)

"""Health checks for supervisors and load balancers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from wallets.services.operations import readiness
from wallets.services.operations.readiness import Readiness
from wallets.utils.batching import MAX_WAITING
from wallets.utils.caller import Caller
from wallets.views.http.operation import OPEN, Operation
from wallets.views.http.request import ApiResponse, json_response
from wallets.views.http.request import Request as Asked
from wallets.views.http.rest_framework import OperationView
from wallets.views.problems import problem_response
from wallets.views.problems.from_exceptions import RETRY_AFTER_OUTAGE

R = TypeVar("R")


class _Probe(Operation[None, R]):
    """A request of nobody, with no content and about no wallet."""

    capability = OPEN

    def read(self, request: Asked, query: Mapping[str, Any]) -> None:
        return None

    def wallets_of(self, call: None) -> Collection[UUID]:
        return ()


class GetAlive(_Probe[None]):
    """Say that the process answers. Uses no other part."""

    needs_database = False

    def many(
        self, calls: Sequence[None], *, caller: Caller, wait: bool
    ) -> Sequence[None]:
        return calls

    def write(self, request: Asked, call: None, result: None) -> ApiResponse:
        return json_response({"status": "ok"})


class AliveView(OperationView):
    """GET /healthz."""

    operations = (GetAlive(),)


class GetReady(_Probe[Readiness]):
    """Say whether requests can be served. All that ask at the same time share a look.

    Not by Django: its threads are few, and anybody may make them busy.
    """

    max_batch = MAX_WAITING
    # A broker that does not answer delays it, so it has threads of its own.
    always_waits = True

    def many(
        self, calls: Sequence[None], *, caller: Caller, wait: bool
    ) -> Sequence[Readiness]:
        return [readiness.look()] * len(calls)

    def write(self, request: Asked, call: None, result: Readiness) -> ApiResponse:
        report = {"checks": result.checks, "sweep_age_seconds": result.sweeps}
        if result.ready:
            return json_response({"status": result.status, **report})
        ill = [
            name for name in ("database", "migrations") if result.checks[name] != "ok"
        ]
        problem = problem_response.answer(
            "service_unavailable", f"Not ready: {', '.join(ill)}.", members=report
        )
        return ApiResponse(
            problem.content,
            problem.status_code,
            {"Retry-After": RETRY_AFTER_OUTAGE},
            problem_response.CONTENT_TYPE,
        )


class ReadyView(OperationView):
    """GET /readyz: 200 when requests can be served, 503 when not.

    Without the broker or the sweeps, with a failing bank, or with paused or late
    payouts it is 200 and "degraded": the API works, and taking every process out of
    service would not help.
    """

    operations = (GetReady(),)

"""Health checks for supervisors and load balancers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.request import Request

from wallets.services.operations import readiness
from wallets.utils.caller import Caller
from wallets.views.http.operation import OPEN, Operation
from wallets.views.http.request import ApiResponse, json_response
from wallets.views.http.request import Request as Asked
from wallets.views.http.rest_framework import Endpoint, OperationView, response_of
from wallets.views.problems import problem_response
from wallets.views.problems.from_exceptions import RETRY_AFTER_OUTAGE


class GetAlive(Operation[None, None]):
    """Say that the process answers. Uses no other part."""

    capability = OPEN
    needs_database = False

    def read(self, request: Asked, query: Mapping[str, Any]) -> None:
        return None

    def wallets_of(self, call: None) -> Collection[UUID]:
        return ()

    def many(
        self, calls: Sequence[None], *, caller: Caller, wait: bool
    ) -> Sequence[None]:
        return calls

    def write(self, request: Asked, call: None, result: None) -> ApiResponse:
        return json_response({"status": "ok"})


class AliveView(OperationView):
    """GET /healthz."""

    operations = (GetAlive(),)


class ReadyView(Endpoint):
    """GET /readyz: 200 when requests can be served, 503 when not.

    Without the broker or the sweeps, with a failing bank, or with paused or late
    payouts it is 200 and "degraded": the API works, and taking every process out of
    service would not help.
    """

    is_open = True

    def get(self, request: Request) -> HttpResponse:
        found = readiness.look()
        report = {"checks": found.checks, "sweep_age_seconds": found.sweeps}
        if found.ready:
            return response_of(json_response({"status": found.status, **report}))
        ill = [
            name for name in ("database", "migrations") if found.checks[name] != "ok"
        ]
        return problem_response.answer(
            "service_unavailable",
            f"Not ready: {', '.join(ill)}.",
            headers={"Retry-After": RETRY_AFTER_OUTAGE},
            members=report,
        )

"""Health, for supervisors and load balancers."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from wallets.services import readiness
from wallets.views import problems
from wallets.views.base import Endpoint, json_answer
from wallets.views.errors import RETRY_AFTER_OUTAGE


class AliveView(Endpoint):
    """GET /healthz: the process answers. Touches nothing, so it never lies about others."""

    def get(self, request: Request) -> HttpResponse:
        return json_answer({"status": "ok"})


class ReadyView(Endpoint):
    """GET /readyz: 200 when requests can be served, 503 when not.

    Broker, sweeps or bank ill, or payouts paused or late, is "degraded" and 200: the API
    works without them, and taking every process out of service would only add to the
    trouble.
    """

    def get(self, request: Request) -> HttpResponse:
        found = readiness.look()
        report = {"checks": found.checks, "sweep_age_seconds": found.sweeps}
        if found.ready:
            return json_answer({"status": found.status, **report})
        ill = [
            name for name in ("database", "migrations") if found.checks[name] != "ok"
        ]
        return problems.answer(
            "service_unavailable",
            f"Not ready: {', '.join(ill)}.",
            headers={"Retry-After": RETRY_AFTER_OUTAGE},
            members=report,
        )

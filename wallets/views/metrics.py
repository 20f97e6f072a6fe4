"""GET /metrics for Prometheus, and the middleware that counts requests.

Both exist only with METRICS_ENABLED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from wallets.services.operations import metrics as service
from wallets.services.operations.metrics import LATENESS_BUCKETS, Figures
from wallets.utils import clock, request_metrics
from wallets.views.http import authentication
from wallets.views.http.request import request_of
from wallets.views.problems import problem_response
from wallets.views.problems.problem_response import RequestRefused

# What a caller needs, where the service asks who calls.
SCOPE = "metrics:read"
METHODS = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"}


@csrf_exempt  # it changes nothing
def metrics(request: HttpRequest) -> HttpResponse:
    """Return all figures as text. With METRICS_TOKEN only for clients that send it.

    Without it only for callers with the scope SCOPE, where the service asks who calls;
    and the Host must be one of ALLOWED_HOSTS: a browser page of another site, whose
    name resolves to this machine, must not read the figures.
    """
    if not settings.METRICS_TOKEN:
        # Django's own rule: ours accepts any name for a probe.
        HttpRequest.get_host(request)
    if request.method not in ("GET", "HEAD"):
        return problem_response.answer(
            "method_not_allowed", headers={"Allow": "GET, HEAD"}
        )
    if settings.METRICS_TOKEN and not _has_token(request):
        return problem_response.answer(
            "unauthorized", headers={"WWW-Authenticate": _challenge(request)}
        )
    if not settings.METRICS_TOKEN and settings.API_AUTHENTICATION:
        try:
            _check_may_read(request)
        except RequestRefused as error:
            return problem_response.answer(
                error.code, error.detail, headers=error.headers
            )
    figures = CollectorRegistry()
    figures.register(_Families(service.figures()))
    text = generate_latest(figures) + generate_latest(request_metrics.registry())
    return HttpResponse(
        text, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
    )


def _has_token(request: HttpRequest) -> bool:
    """Whether the request has the token; the name of the scheme has any case."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_right = constant_time_compare(token, settings.METRICS_TOKEN)
    return is_right and scheme.lower() == "bearer"


def _challenge(request: HttpRequest) -> str:
    """Return the challenge of RFC 6750: an error only for who has sent a token."""
    sent = request.headers.get("Authorization", "")[:6].lower()
    error = ', error="invalid_token"' if sent == "bearer" else ""
    return f'Bearer realm="metrics"{error}'


def _check_may_read(request: HttpRequest) -> None:
    """Refuse callers without the scope, and those with a tenant.

    :raises RequestRefused: the figures are of all tenants together (403), or as the
        function that finds out who calls.
    """
    if authentication.caller_of(SCOPE, request_of(request, {})).tenant:
        raise authentication.not_permitted(
            "The figures are of all tenants; the caller is limited to one."
        )


def count_requests(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that counts and times requests by route; paths would be unbounded."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        began = clock.elapsed()
        response = get_response(request)
        match = request.resolver_match
        route = match.route if match and match.route else "none"
        method = request.method if request.method in METHODS else "other"
        count(str(method), route, response.status_code, began)
        return response

    return middleware


def count(method: str, route: str, status: int, began: float) -> None:
    """Count and time a request that began at `began` (`clock.elapsed`)."""
    request_metrics.REQUESTS.labels(method, route, str(status)).inc()
    request_metrics.SECONDS.labels(method, route).observe(clock.elapsed() - began)


class _Families(Collector):
    """The service's figures as families of Prometheus."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        found = self._figures
        yield from self._counters()
        yield self._lateness()
        for name, text, value in (
            (
                "in_flight_amount",
                "Money held for payouts, minor units.",
                "in_flight_amount",
            ),
            ("in_flight", "Withdrawals with money held.", "in_flight"),
            ("unknown", "Withdrawals of unknown outcome.", "unknown"),
            ("oldest_unknown_seconds", "Age of the oldest.", "oldest_unknown_seconds"),
            ("needs_review", "Withdrawals that wait for a person.", "needs_review"),
            ("due", "Scheduled withdrawals whose time has come.", "due"),
            ("oldest_due_seconds", "How late the latest is.", "oldest_due_seconds"),
            ("retries_due", "Failed withdrawals due again.", "retries_due"),
            (
                "oldest_retry_due_seconds",
                "How late the latest retry is.",
                "oldest_retry_due_seconds",
            ),
            ("payouts_paused", "1 while nothing is sent.", "payouts_paused"),
            ("bank_lost_share", "Calls lately without answer.", "bank_lost_share"),
            (
                "clock_offset_seconds",
                "How far this host's clock is ahead of the database's.",
                "clock_offset_seconds",
            ),
        ):
            yield GaugeMetricFamily(f"wallet_{name}", text, value=getattr(found, value))
        for gauge in found.gauges:
            yield GaugeMetricFamily(f"wallet_{gauge.name}", gauge.text, gauge.value)
        ages = GaugeMetricFamily(
            "wallet_sweep_age_seconds", "Since the sweep last ran.", labels=["sweep"]
        )
        for sweep, age in found.sweep_ages.items():
            ages.add_metric([sweep], float("inf") if age is None else age)
        yield ages
        alarms = GaugeMetricFamily(
            "wallet_alarms_open", "Alarms nobody has acknowledged.", labels=["kind"]
        )
        for kind, count in found.alarms.items():
            alarms.add_metric([kind], count)
        yield alarms

    def _counters(self) -> Iterable[Metric]:
        totals = self._figures.totals
        for name, text, key in (
            ("wallet_deposits", "Deposits.", "count:deposit"),
            ("wallet_deposits_amount", "Money deposited.", "amount:deposit"),
            ("wallet_transfers", "Transfers.", "count:transfer_out"),
            ("wallet_transfers_amount", "Money transferred.", "amount:transfer_out"),
            ("wallet_payouts_amount", "Money paid out.", "amount:settle"),
            ("wallet_returns", "Payments that banks returned.", "count:return"),
            ("wallet_returns_amount", "Money that banks returned.", "amount:return"),
        ):
            yield CounterMetricFamily(name, text, value=totals[key])
        for name, text, label in (
            ("wallet_withdrawals", "Withdrawals that have ended.", "outcome"),
            ("wallet_withdrawal_events", "What happened to withdrawals.", "event"),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for key, count in sorted(totals.items()):
                kind, _, value = key.partition(":")
                if kind == label:
                    family.add_metric([value], count)
            yield family

    def _lateness(self) -> Metric:
        totals = self._figures.totals
        buckets, below = [], 0
        for bucket in LATENESS_BUCKETS:
            below += totals[f"late:{bucket}"]
            name = "+Inf" if bucket == float("inf") else str(bucket)
            buckets.append((name, below))
        return HistogramMetricFamily(
            "wallet_withdrawal_lateness_seconds",
            "From the planned time to the payout.",
            buckets=buckets,
            sum_value=totals["late_ms"] / 1000,
        )

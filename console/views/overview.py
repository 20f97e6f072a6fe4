"""The first page: the state of payouts, and what becomes due."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from console import plots
from console.plots import Plot, Series
from console.queries import activity
from console.queries import overview as queries
from console.queries.overview import Overview
from console.views.base import is_htmx, page


@page("transaction")
def overview(request: HttpRequest) -> HttpResponse:
    """GET /console/: the whole page, or only its figures for a refresh."""
    found = queries.overview()
    context = {
        "overview": found,
        "due_plot": _due_plot(found),
        "activity_plot": _activity_plot(found),
        "refresh": is_htmx(request),
        "live": request.GET.get("live") != "off",
    }
    name = "console/_overview.html" if is_htmx(request) else "console/overview.html"
    return render(request, name, context)


def _due_plot(found: Overview) -> Plot:
    return plots.bars(
        "Due in the next hour",
        start=found.due.start,
        step=queries.BIN,
        series=[Series("due", "accent", found.due.counts)],
    )


def _activity_plot(found: Overview) -> Plot:
    series = [
        Series("paid", "good", found.activity.series(activity.PAID)),
        Series("failed", "bad", found.activity.series(activity.FAILED)),
        Series("retried", "warn", found.activity.series(activity.RETRIED)),
    ]
    return plots.bars(
        "Withdrawals per minute",
        start=found.activity.start,
        step=activity.MINUTE,
        series=series,
    )

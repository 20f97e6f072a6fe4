"""Pages of what waits for an operator: withdrawals in review, and alarms."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from console.access import OPERATE
from console.queries import listing
from console.queries.alarms import alarms as alarm_page
from console.views.base import page


@page("transaction", "attempt")
def review(request: HttpRequest) -> HttpResponse:
    """GET /console/review: the queue, the longest waiting first."""
    context = {
        "waiting": listing.waiting_for_review(),
        "may_act": request.user.has_perm(OPERATE),
    }
    return render(request, "console/review.html", context)


@page("alarm")
def alarms(request: HttpRequest) -> HttpResponse:
    """GET /console/alarms: the open ones; with ?all=1 also acknowledged ones."""
    everything = request.GET.get("all") == "1"
    before = request.GET.get("before", "")
    found, following = alarm_page(
        everything=everything,
        before=int(before) if before.isdecimal() and before.isascii() else None,
    )
    context = {
        "alarms": found,
        "next": following,
        "everything": everything,
        "may_act": request.user.has_perm(OPERATE),
    }
    return render(request, "console/alarms.html", context)

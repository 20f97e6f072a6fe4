"""The pages of webhooks: all of them, one with its deliveries, one delivery."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from console.access import OPERATE
from console.views.base import is_htmx, page
from events.models.endpoint import Endpoint
from events.pages import queries
from events.services.webhooks.history import Shown
from wallets.utils.actors import MAX_ACTOR
from wallets.utils.limits import MAX_BIGINT


@page("events.endpoint")
def webhooks(request: HttpRequest) -> HttpResponse:
    """GET /console/webhooks: all of them; `?actor=`: those of an actor."""
    actor = request.GET.get("actor", "").strip()[:MAX_ACTOR]
    context = {"standings": queries.standings(actor), "actor": actor}
    return render(request, "events/webhooks.html", context)


@page("events.endpoint", "events.delivery")
def webhook(request: HttpRequest, webhook_uuid: UUID) -> HttpResponse:
    """GET /console/webhooks/<uuid>: how it is set, and what was sent."""
    endpoint = endpoint_or_404(webhook_uuid)
    rows, following = queries.deliveries(endpoint, _before(request))
    context = {
        "endpoint": endpoint,
        "standing": queries.standing(endpoint),
        "deliveries": rows,
        "next": following,
        "may_act": request.user.has_perm(OPERATE),
    }
    return render(request, "events/webhook.html", context)


def _before(request: HttpRequest) -> int | None:
    text = request.GET.get("before", "")
    digits = text.isascii() and text.isdecimal() and len(text) < 20
    return min(int(text), MAX_BIGINT) if digits else None


@page("events.endpoint", "events.delivery")
def delivery(request: HttpRequest, webhook_uuid: UUID, sequence: int) -> HttpResponse:
    """GET …/deliveries/<sequence>: request and answer; reloads when it changes."""
    endpoint = endpoint_or_404(webhook_uuid)
    found = delivery_or_404(endpoint, sequence)
    seen = queries.fingerprint(found)
    if is_htmx(request):
        if request.GET.get("seen") == seen:
            return HttpResponse(status=204)
        return HttpResponseClientRefresh()
    context = {
        "endpoint": endpoint,
        "delivery": found.delivery,
        "next_attempt_at": found.next_attempt_at,
        "waits_for": found.waits_for,
        "body": queries.readable(found.delivery.body),
        "seen": seen,
        "may_act": request.user.has_perm(OPERATE),
    }
    return render(request, "events/delivery.html", context)


def endpoint_or_404(webhook_uuid: UUID) -> Endpoint:
    """Return the webhook.

    :raises Http404: there is none.
    """
    found = queries.find(webhook_uuid)
    if found is None:
        raise Http404(f"There is no webhook {webhook_uuid}.")
    return found


def delivery_or_404(endpoint: Endpoint, sequence: int) -> Shown:
    """Return the delivery.

    :raises Http404: there is none.
    """
    found = queries.find_delivery(endpoint, sequence)
    if found is None:
        raise Http404(f"There is no delivery {sequence} of this webhook.")
    return found

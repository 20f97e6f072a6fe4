"""The actions on webhooks: one POST each, which is one call of a service.

None asks first: each can be undone, or changes nothing but what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from console.views.base import actor, operator_page
from events.errors import WebhookNotFound
from events.models.delivery import Delivery
from events.services.webhooks import endpoints, repeat
from events.services.webhooks.endpoints import Changes
from wallets.errors import LostRace, Refusal
from wallets.utils import deeds
from wallets.utils.limits import MAX_BIGINT

T = TypeVar("T")


@require_POST
@operator_page
def test(request: HttpRequest, webhook_uuid: UUID) -> HttpResponse:
    """POST …/test: send a test event."""
    sent = _do(
        request,
        f"test webhook {webhook_uuid}",
        lambda: repeat.send_test(webhook_uuid, actor=actor(request)).delivery,
        "A test event is on its way.",
    )
    return _to(webhook_uuid, sent)


@require_POST
@operator_page
def again(request: HttpRequest, webhook_uuid: UUID, sequence: int) -> HttpResponse:
    """POST …/deliveries/<sequence>/again: send its event once more, or now."""
    if sequence > MAX_BIGINT:
        raise Http404("There is no such delivery.")
    sent = _do(
        request,
        f"send delivery {sequence} of webhook {webhook_uuid} again",
        lambda: repeat.send_again(webhook_uuid, sequence, actor=actor(request)),
        "The event is on its way, with the same id.",
    )
    return _to(webhook_uuid, sent)


@require_POST
@operator_page
def on(request: HttpRequest, webhook_uuid: UUID) -> HttpResponse:
    """POST …/on: switch it on."""
    return _switch(request, webhook_uuid, enabled=True)


@require_POST
@operator_page
def off(request: HttpRequest, webhook_uuid: UUID) -> HttpResponse:
    """POST …/off: switch it off."""
    return _switch(request, webhook_uuid, enabled=False)


def _switch(request: HttpRequest, webhook_uuid: UUID, *, enabled: bool) -> HttpResponse:
    _do(
        request,
        f"switch webhook {webhook_uuid} {'on' if enabled else 'off'}",
        lambda: endpoints.change(
            webhook_uuid, Changes(enabled=enabled), actor=actor(request)
        ),
        (
            "The webhook is switched on, and goes on where it stopped."
            if enabled
            else "The webhook is switched off. It keeps its place."
        ),
    )
    return _to(webhook_uuid, None)


def _do(request: HttpRequest, deed: str, work: Callable[[], T], done: str) -> T | None:
    """Call the service once and show the result as a message."""
    result = None
    try:
        result = work()
    except WebhookNotFound as refusal:
        raise Http404(str(refusal)) from None
    except Refusal as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    except LostRace:
        messages.warning(
            request, "Nothing was changed: another process was faster. Try again."
        )
    else:
        messages.success(request, done)
    deeds.record(request, deed, done=result is not None)
    return result


def _to(webhook_uuid: UUID, delivery: Delivery | None) -> HttpResponse:
    if delivery is None:
        return redirect("webhook_pages:webhook", webhook_uuid)
    return redirect("webhook_pages:delivery", webhook_uuid, delivery.sequence)

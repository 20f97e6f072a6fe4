"""Template tags for the states of webhooks and deliveries."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint

register = template.Library()

_OFF: dict[str, tuple[str, str]] = {
    Endpoint.OffBecause.SWITCHED_OFF: ("Off", "muted"),
    Endpoint.OffBecause.FAILING: ("Off: it failed", "bad"),
    Endpoint.OffBecause.GONE: ("Off: gone", "bad"),
}


@register.simple_tag
def webhook_badge(endpoint: Endpoint) -> SafeString:
    """The state of a webhook as a coloured word."""
    if not endpoint.enabled:
        return _badge(*_OFF.get(endpoint.off_because, ("Off", "muted")))
    if endpoint.failures_in_row:
        return _badge("Failing", "warn")
    return _badge("On", "good")


@register.simple_tag
def delivery_badge(delivery: Delivery) -> SafeString:
    """The state of a delivery as a coloured word."""
    if delivery.outcome == Delivery.Outcome.DELIVERED:
        return _badge("Delivered", "good")
    if delivery.outcome == Delivery.Outcome.FAILED:
        return _badge("Failed", "bad")
    if delivery.lease_token is not None:
        return _badge("Under way", "busy")
    if delivery.attempts:
        return _badge("Failed, will retry", "warn")
    return _badge("Waiting", "muted")


def _badge(name: str, tone: str) -> SafeString:
    return format_html('<span class="badge tone-{}">{}</span>', tone, name)

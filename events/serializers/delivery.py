"""Deliveries of webhooks in answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import TextChoices
from rest_framework import serializers

from events.models.delivery import MAX_ATTEMPTS, MAX_KEPT_ANSWER, Delivery
from events.models.event import EventType
from events.services.webhooks.history import Shown
from events.services.webhooks.planning import TEST_TYPE
from events.utils.webhook_client import MAX_TEXT
from wallets.serializers.fields import CountField, IdField, InstantField, WordField


class DeliveryStatus(TextChoices):
    """The status of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


# The outcome of the deliveries that have a status.
OUTCOMES = {
    DeliveryStatus.PENDING.value: Delivery.Outcome.NONE,
    DeliveryStatus.DELIVERED.value: Delivery.Outcome.DELIVERED,
    DeliveryStatus.FAILED.value: Delivery.Outcome.FAILED,
}


class DeliveryAttemptSerializer(serializers.Serializer):
    """An attempt to send an event to a webhook."""

    attempt = CountField(help_text="Its number: 1 is the first.")
    sent_at = InstantField(help_text="When it began.")
    ended_at = InstantField(help_text="When its result was known.")
    response_status = serializers.IntegerField(
        allow_null=True, help_text="The HTTP status of the answer."
    )
    response = serializers.CharField(
        help_text=f"The answer, at most {MAX_KEPT_ANSWER} characters; or why there is "
        "none."
    )


class DeliverySerializer(serializers.Serializer):
    """An event on its way to a webhook."""

    sequence = IdField(help_text="Its place in the order of the webhook.")
    event = serializers.CharField(
        help_text="The event's id: `webhook-id`, the same for each attempt."
    )
    type = WordField(
        [*EventType.choices, (TEST_TYPE, TEST_TYPE)], help_text="The type of the event."
    )
    position = IdField(
        allow_null=True, help_text="The event's position in the feed; null for a test."
    )
    status = WordField(
        DeliveryStatus.choices,
        help_text="`pending` until the receiver has answered with 2xx, then `delivered`. "
        "A test that was answered otherwise has `failed`.",
    )
    attempts = CountField(help_text="How often it was sent.")
    created_at = InstantField(help_text="When it was planned.")
    sent_at = InstantField(allow_null=True, help_text="The last attempt.")
    next_attempt_at = InstantField(
        allow_null=True,
        help_text="The earliest time of the next attempt of a pending one; null while it "
        "waits for another one, or its webhook is off.",
    )
    waits_for = IdField(
        allow_null=True,
        help_text="The sequence of the delivery that must be received before a pending "
        "one is sent: an earlier event of the same wallet.",
    )
    response_status = serializers.IntegerField(
        allow_null=True, help_text="The HTTP status of the last answer."
    )
    response = serializers.CharField(
        help_text=f"The last answer, at most {MAX_TEXT:,} characters; or why there is none."
    )
    delivered_at = InstantField(allow_null=True, help_text="When it was delivered.")
    last_attempts = DeliveryAttemptSerializer(
        many=True,
        help_text=f"The last {MAX_ATTEMPTS} attempts whose end is known, newest first.",
    )


def delivery_line(shown: Shown) -> dict[str, Any]:
    """Return the same as `DeliverySerializer`, for `strict_json.dumps`."""
    delivery = shown.delivery
    pending = delivery.open is not None
    delivered = delivery.outcome == Delivery.Outcome.DELIVERED
    return {
        "sequence": delivery.sequence,
        "event": delivery.event_id,
        "type": delivery.event_type,
        "position": delivery.position,
        "status": DeliveryStatus.PENDING.value if pending else delivery.outcome,
        "attempts": delivery.attempts,
        "created_at": delivery.created_at,
        "sent_at": delivery.claimed_at,
        "next_attempt_at": shown.next_attempt_at,
        "waits_for": shown.waits_for,
        "response_status": delivery.http_status,
        "response": delivery.answer,
        "delivered_at": delivery.closed_at if delivered else None,
        "last_attempts": [_attempt(one) for one in delivery.last_attempts or ()],
    }


def _attempt(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same as `DeliveryAttemptSerializer`."""
    return {
        "attempt": kept["attempt"],
        "sent_at": kept["sent"],
        "ended_at": kept["ended"],
        "response_status": kept["status"],
        "response": kept["answer"],
    }

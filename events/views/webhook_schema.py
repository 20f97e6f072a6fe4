"""The documentation of the operations of webhooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from events.serializers.delivery import OUTCOMES, DeliverySerializer
from events.serializers.webhook import (
    NewWebhookSerializer,
    WebhookChangeRequestSerializer,
    WebhookReplayRequestSerializer,
    WebhookRequestSerializer,
    WebhookRotationRequestSerializer,
    WebhookSerializer,
)
from events.views.webhooks import (
    DeliveryListView,
    ReplayView,
    RotateSecretView,
    TestView,
    WebhookListView,
    WebhookView,
)
from wallets.views.schema.operation import (
    BODY,
    CURSOR,
    LIMIT,
    QUERY,
    STORED,
    Operation,
)

EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("webhook_examples.json").read_text(encoding="utf-8")
)
PATHS: dict[str, tuple[Any, str]] = {
    "webhook_uuid": (OpenApiTypes.UUID, "The webhook."),
}
_TAG = "Webhooks"
_WEBHOOK = (*STORED, "not_found", "webhook_not_found")
_WRITES = (*BODY, "request_in_progress")
_FIELDS = (
    *_WRITES,
    "body_required",
    "webhook_url_refused",
    "webhook_url_unresolved",
    "webhook_types_invalid",
    "webhook_description_invalid",
)
_STATUS = OpenApiParameter(
    "status",
    {"type": "string", "pattern": f"^({'|'.join(OUTCOMES)})$"},
    description="Only with this status.",
)
_LINKS = {
    name: {"webhook_uuid": "$response.body#/uuid"}
    for name in ("get_webhook", "test_webhook", "list_deliveries", "delete_webhook")
}

OPERATIONS: dict[type, dict[str, Operation]] = {
    WebhookListView: {
        "GET": Operation(
            id="list_webhooks",
            tag=_TAG,
            summary="All webhooks",
            description="An array, the oldest first. Secrets are not shown.",
            answer=WebhookSerializer(many=True),
            codes=STORED,
        ),
        "POST": Operation(
            id="create_webhook",
            tag=_TAG,
            summary="Create a webhook",
            description=(
                "Events are sent to its URL from now on, as [Standard Webhooks]"
                "(https://www.standardwebhooks.com) describes: signed, at least once, and "
                "those of one wallet in their order. The answer has the secret, which is "
                "not shown again."
            ),
            status=201,
            answer=NewWebhookSerializer,
            codes=(*STORED, *_FIELDS, "required", "too_many_webhooks"),
            request=WebhookRequestSerializer,
            headers={"Location": True},
            links=_LINKS,
        ),
    },
    WebhookView: {
        "GET": Operation(
            id="get_webhook",
            tag=_TAG,
            summary="A webhook",
            description="How it is set, and how far it has come.",
            answer=WebhookSerializer,
            codes=_WEBHOOK,
        ),
        "PATCH": Operation(
            id="change_webhook",
            tag=_TAG,
            summary="Change a webhook",
            description=(
                "Changes the fields that are sent. A webhook that is switched on again "
                "goes on where it stopped."
            ),
            answer=WebhookSerializer,
            codes=(*_WEBHOOK, *_FIELDS, "webhook_enabled_invalid"),
            request=WebhookChangeRequestSerializer,
        ),
        "DELETE": Operation(
            id="delete_webhook",
            tag=_TAG,
            summary="Delete a webhook",
            description="Nothing more is sent. The answer shows it for the last time.",
            answer=WebhookSerializer,
            codes=(*_WEBHOOK, "request_in_progress"),
        ),
    },
    RotateSecretView: {
        "POST": Operation(
            id="rotate_webhook_secret",
            tag=_TAG,
            summary="A new secret",
            description=(
                "Until `old_secret_ends_at` events are signed with the new secret and with "
                "the present one. If the answer is lost, repeat the request with "
                "`keep: old`: while two secrets are valid, a request without `keep` is "
                "refused, because it would end one that the receiver may have. The path "
                "with a trailing slash does the same."
            ),
            answer=NewWebhookSerializer,
            codes=(*_WEBHOOK, *_WRITES, "webhook_keep_invalid", "webhook_two_secrets"),
            request=WebhookRotationRequestSerializer,
        )
    },
    ReplayView: {
        "POST": Operation(
            id="replay_webhook",
            tag=_TAG,
            summary="Send events again",
            description=(
                "Sends all events from a position or a time on, with the ids that they "
                "had. None is skipped: a webhook that has not come so far goes on as it "
                "is. The path with a trailing slash does the same."
            ),
            answer=WebhookSerializer,
            codes=(
                *_WEBHOOK,
                *_WRITES,
                "body_required",
                "required",
                "webhook_from_invalid",
            ),
            request=WebhookReplayRequestSerializer,
        )
    },
    TestView: {
        "POST": Operation(
            id="test_webhook",
            tag=_TAG,
            summary="Send a test event",
            description=(
                "Sends an event of type `webhook.test`, once. `list_deliveries` shows what "
                "came of it. The path with a trailing slash does the same."
            ),
            answer=DeliverySerializer,
            codes=(*_WEBHOOK, *_WRITES, "webhook_off"),
        )
    },
    DeliveryListView: {
        "GET": Operation(
            id="list_deliveries",
            tag=_TAG,
            summary="What was sent to a webhook",
            description=(
                "An array, newest first; the next page is in the `Link` header. Delivered "
                "events are shown for 30 days, unless the operator has set another time."
            ),
            answer=DeliverySerializer(many=True),
            codes=(*_WEBHOOK, *QUERY, "cursor_invalid"),
            query=(_STATUS, LIMIT, CURSOR),
            headers={"Link": True},
        )
    },
}

"""The paths that the application adds to the API."""

from __future__ import annotations

from events.views.event import EventListView
from events.views.webhooks import (
    DeliveryListView,
    ReplayView,
    RotateSecretView,
    TestView,
    WebhookListView,
    WebhookView,
)
from wallets.views.http.route import Route

_WEBHOOK = "webhooks/<uuid:webhook_uuid>/"

ROUTES = (
    Route("events/", EventListView, "events"),
    Route("webhooks/", WebhookListView, "webhooks"),
    Route(_WEBHOOK, WebhookView, "webhook"),
    Route(
        f"{_WEBHOOK}rotate-secret", RotateSecretView, "rotate-secret", is_action=True
    ),
    Route(f"{_WEBHOOK}replay", ReplayView, "replay", is_action=True),
    Route(f"{_WEBHOOK}test", TestView, "test", is_action=True),
    Route(f"{_WEBHOOK}deliveries/", DeliveryListView, "deliveries"),
)

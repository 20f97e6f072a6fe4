"""What the feed and webhooks add to /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from events.services import health
from events.services.webhooks import health as webhooks
from wallets.utils.extensions import Gauge, Health


def _feed(now: datetime) -> Health:
    found = health.look(now)
    return Health(
        found.trouble,
        (
            Gauge("events_position", "The last position of the feed.", found.position),
            Gauge(
                "events_behind_seconds",
                "How long the oldest change waits for its place in the feed.",
                found.behind_seconds,
            ),
            Gauge("events_gaps", "Gaps in the ids of the ledger.", found.gaps),
        ),
    )


def _webhooks(now: datetime) -> Health:
    found = webhooks.look(now)
    return Health(
        found.trouble,
        (
            Gauge(
                "webhooks_behind_seconds",
                "How long the oldest event waits to be planned for a working webhook.",
                found.behind_seconds,
            ),
            Gauge("webhooks_waiting", "Deliveries that wait.", found.waiting),
            Gauge("webhooks_failing", "Webhooks that are on and fail.", found.failing),
            Gauge(
                "webhooks_switched_off",
                "Webhooks that the service has switched off.",
                found.switched_off,
            ),
        ),
    )


CHECKS: Mapping[str, Callable[[datetime], Health]] = {
    "events": _feed,
    "webhooks": _webhooks,
}

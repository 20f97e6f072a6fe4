"""What was sent to an endpoint: reads of deliveries, the newest first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from events.errors import WebhookNotFound
from events.models.delivery import Delivery
from events.services.webhooks.endpoints import find_many


@dataclass(frozen=True)
class PageRequest:
    """Up to `count` deliveries of an endpoint.

    If they are given: those before a sequence, and those with this outcome; of open
    ones it is `Outcome.NONE`.
    """

    endpoint: uuid.UUID
    before: int | None
    count: int
    outcome: Delivery.Outcome | None = None


def pages(
    requests: Sequence[PageRequest], *, tenant: str = ""
) -> list[list[Delivery] | WebhookNotFound]:
    """Return a page or the refusal for each request, in order. Reads only."""
    found = find_many([one.endpoint for one in requests], tenant=tenant)
    result: list[list[Delivery] | WebhookNotFound] = []
    for asked, endpoint in zip(requests, found, strict=True):
        if isinstance(endpoint, WebhookNotFound):
            result.append(endpoint)
            continue
        rows = Delivery.objects.filter(endpoint=endpoint).order_by("-sequence")
        if asked.before is not None:
            rows = rows.filter(sequence__lt=asked.before)
        if asked.outcome is not None:
            rows = rows.filter(outcome=asked.outcome)
        result.append(list(rows[: asked.count]))
    return result

"""What was sent to an endpoint: reads of deliveries, the newest first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Subquery

from events.errors import WebhookNotFound
from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
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


@dataclass(frozen=True)
class Shown:
    """A delivery, and when it is sent next.

    - `waits_for`: the sequence of the delivery of its lane that must be received first;
      None: it waits for none.
    - `next_attempt_at`: the earliest time (UTC) of its next attempt. None: it has ended,
      or nobody knows, because it waits for another one or its endpoint is off.
    """

    delivery: Delivery
    next_attempt_at: datetime | None
    waits_for: int | None


def shown(endpoint: Endpoint, deliveries: Sequence[Delivery]) -> list[Shown]:
    """Return the endpoint's deliveries, in order, with their next attempts. Reads only."""
    firsts = _firsts_of_lanes([row.pk for row in deliveries if row.open])
    return [_shown(endpoint, row, firsts.get(row.pk)) for row in deliveries]


def _firsts_of_lanes(pks: Sequence[int]) -> dict[int, int]:
    """Return the sequence of the first open delivery of the lane of each of these."""
    if not pks:
        return {}
    lane = Delivery.objects.filter(
        OPEN, endpoint=OuterRef("endpoint"), lane=OuterRef("lane")
    )
    first = Subquery(lane.order_by("lane", "sequence").values("sequence")[:1])
    rows = Delivery.objects.filter(pk__in=pks).order_by()
    return dict(rows.values_list("pk", first))


def _shown(endpoint: Endpoint, row: Delivery, first: int | None) -> Shown:
    if row.open is None:
        return Shown(row, None, None)
    # It may have been received since the row was read; then it waits for none.
    if first is not None and first < row.sequence:
        return Shown(row, None, first)
    quiet = endpoint.quiet_until or row.due_at
    return Shown(row, max(row.due_at, quiet) if endpoint.enabled else None, None)


def pages(
    requests: Sequence[PageRequest], *, tenant: str = ""
) -> list[list[Shown] | WebhookNotFound]:
    """Return a page or the refusal for each request, in order. Reads only."""
    found = find_many([one.endpoint for one in requests], tenant=tenant)
    result: list[list[Shown] | WebhookNotFound] = []
    for asked, endpoint in zip(requests, found, strict=True):
        if isinstance(endpoint, WebhookNotFound):
            result.append(endpoint)
            continue
        rows = Delivery.objects.filter(endpoint=endpoint).order_by("-sequence")
        if asked.before is not None:
            rows = rows.filter(sequence__lt=asked.before)
        if asked.outcome is not None:
            rows = rows.filter(outcome=asked.outcome)
        result.append(shown(endpoint, list(rows[: asked.count])))
    return result

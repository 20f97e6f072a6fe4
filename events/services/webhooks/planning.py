"""Planning: events of the feed become deliveries of an endpoint, each once, in order."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.services import feed
from events.services.content import EventRecord
from events.services.feed import FeedRequest
from wallets.utils import strict_json
from wallets.utils.database.transactions import guarded_update

# The most events that become deliveries in one step.
PAGE = 200
# So many failures in a row mean that the endpoint fails, and not only some events.
FAILS_AFTER = 5
TEST_TYPE = "webhook.test"


def plan(endpoint: Endpoint, *, now: datetime) -> bool:
    """Plan the next events of the feed; return whether the feed may have more.

    Call inside a transaction that holds the endpoint's lock. An endpoint that fails is
    not given more than WEBHOOK_WINDOW open deliveries. One that fails only for some
    wallets is: the others go on.
    """
    if endpoint.failures_in_row >= FAILS_AFTER and _is_full(endpoint):
        return False
    types = frozenset(endpoint.types) or None
    asked = FeedRequest(endpoint.position, PAGE, types, tenant=endpoint.tenant)
    page = feed.page(asked)
    if page.after == endpoint.position:
        return False
    _insert(
        endpoint,
        [
            Delivery(
                event_id=one.id,
                event_type=one.type,
                position=one.position,
                lane=str(one.wallet),
                body=body_of(one),
            )
            for one in page.records
        ],
        now=now,
        position=page.after,
    )
    return True


def new_test_id() -> str:
    """Return the id of a new test event."""
    return f"test_{uuid.uuid4().hex}"


def add_test(endpoint: Endpoint, event_id: str, *, now: datetime) -> Delivery:
    """Add a test event, which waits for no other. Call as `plan`."""
    body = _body(event_id, TEST_TYPE, now, data={"webhook": endpoint.uuid})
    made = Delivery(event_id=event_id, event_type=TEST_TYPE, lane=event_id, body=body)
    _insert(endpoint, [made], now=now, position=endpoint.position)
    return made


def add_again(endpoint: Endpoint, earlier: Delivery, *, now: datetime) -> Delivery:
    """Add the same event once more, with the same id. Call as `plan`."""
    made = Delivery(
        event_id=earlier.event_id,
        event_type=earlier.event_type,
        position=earlier.position,
        lane=f"again {uuid.uuid4().hex}",
        body=earlier.body,
    )
    _insert(endpoint, [made], now=now, position=endpoint.position)
    return made


def _insert(
    endpoint: Endpoint, rows: Sequence[Delivery], *, now: datetime, position: int
) -> None:
    """Write the deliveries and the endpoint's new place together."""
    first = endpoint.next_sequence
    for number, row in enumerate(rows, start=first):
        row.endpoint, row.sequence = endpoint, number
        row.due_at = row.created_at = row.updated_at = now
    guarded_update(
        Endpoint,
        {"pk": endpoint.pk, "position": endpoint.position, "next_sequence": first},
        position=position,
        next_sequence=first + len(rows),
        **({"moved_at": now} if position != endpoint.position else {}),
    )
    Delivery.objects.bulk_create(rows)
    endpoint.position, endpoint.next_sequence = position, first + len(rows)


def _is_full(endpoint: Endpoint) -> bool:
    most = settings.WEBHOOK_WINDOW
    rows = Delivery.objects.filter(OPEN, endpoint=endpoint).order_by()
    return rows[:most].count() >= most


def body_of(event: EventRecord) -> str:
    """Return the body of an event, as it is signed and sent."""
    return _body(
        event.id,
        event.type,
        event.created_at,
        position=event.position,
        wallet=event.wallet,
        data=event.data,
    )


def _body(
    event_id: str,
    event_type: str,
    timestamp: datetime,
    *,
    position: int | None = None,
    wallet: uuid.UUID | None = None,
    data: Any,
) -> str:
    return strict_json.dumps(
        {
            "id": event_id,
            "type": event_type,
            "timestamp": timestamp,
            "position": position,
            "wallet": wallet,
            "data": data,
        }
    ).decode()

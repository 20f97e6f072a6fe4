"""What the pages of webhooks show. Reads only."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.services import feed
from events.services.webhooks import endpoints, history
from events.services.webhooks.history import Shown
from wallets.utils.limits import MAX_BIGINT

PAGE = 50


@dataclass(frozen=True)
class Standing:
    """A webhook, and how much waits for it.

    `behind`: events of the feed that are not planned for it yet, of any type.
    """

    endpoint: Endpoint
    waiting: int
    behind: int


def standings(actor: str = "") -> list[Standing]:
    """Return the webhooks in the order in which they were made.

    Those that an actor with this text in the name has made or changed last; "": all.
    """
    last = feed.last_position()
    return [
        _standing(endpoint, last)
        for endpoint in endpoints.everything()
        if _is_of(endpoint, actor.lower())
    ]


def _is_of(endpoint: Endpoint, text: str) -> bool:
    actors = endpoint.created_by, endpoint.changed_by
    return any(text in actor.lower() for actor in actors)


def standing(endpoint: Endpoint) -> Standing:
    """Return how much waits for a webhook."""
    return _standing(endpoint, feed.last_position())


def _standing(endpoint: Endpoint, last: int) -> Standing:
    waiting = Delivery.objects.filter(OPEN, endpoint=endpoint).count()
    return Standing(endpoint, waiting, max(0, last - endpoint.position))


def find(endpoint_uuid: uuid.UUID) -> Endpoint | None:
    """Return a webhook, if there is one."""
    (found,) = endpoints.find_many([endpoint_uuid])
    return found if isinstance(found, Endpoint) else None


def deliveries(
    endpoint: Endpoint, before: int | None
) -> tuple[list[Shown], int | None]:
    """Return a page, newest first, and the sequence before which the next one begins."""
    asked = history.PageRequest(endpoint.uuid, before, PAGE + 1)
    (rows,) = history.pages([asked])
    if not isinstance(rows, list):
        return [], None
    return rows[:PAGE], rows[PAGE - 1].delivery.sequence if len(rows) > PAGE else None


def find_delivery(endpoint: Endpoint, sequence: int) -> Shown | None:
    """Return a delivery of the webhook, if there is one."""
    if sequence > MAX_BIGINT:
        return None
    found = Delivery.objects.filter(endpoint=endpoint, sequence=sequence)
    return next(iter(history.shown(endpoint, list(found))), None)


def fingerprint(shown: Shown) -> str:
    """Return a text that changes when anything on the delivery's page changes."""
    delivery = shown.delivery
    return f"{delivery.attempts}.{delivery.updated_at.timestamp()}.{shown.waits_for}"


def readable(body: str) -> str:
    """Return a body with line breaks; a damaged one as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body

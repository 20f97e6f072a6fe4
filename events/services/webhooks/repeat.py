"""Sending again: a test event, one event once more, or all from a moment on."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from events.errors import WebhookNotFound, WebhookOff
from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.models.event import Event
from events.services.webhooks import planning
from events.services.webhooks.endpoints import with_lock
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import guarded_update

logger = logging.getLogger(__name__)

# The times of events do not only rise with their positions: transactions that run side
# by side overtake each other. A replay from a time begins this much earlier.
SLACK = timedelta(minutes=10)


def send_test(endpoint_uuid: uuid.UUID, *, actor: str, tenant: str = "") -> Delivery:
    """Plan a test event for the endpoint. It is sent once, and no other one waits for it.

    Opens its own transaction.

    :raises WebhookNotFound: there is no such endpoint.
    :raises WebhookOff: it is switched off.
    """
    check_actor(actor)
    event_id = planning.new_test_id()

    def work(endpoint: Endpoint, now: datetime) -> Delivery:
        _refuse_if_off(endpoint)
        # It is there already if the answer to an earlier COMMIT was lost. Its lane, not
        # its event, is in an index.
        states = OPEN | Q(open=None)
        mine = endpoint.deliveries.filter(states, lane=event_id).order_by()[:1]
        return next(iter(mine), None) or planning.add_test(endpoint, event_id, now=now)

    return with_lock(endpoint_uuid, work, tenant)


def send_again(endpoint_uuid: uuid.UUID, sequence: int, *, actor: str) -> Delivery:
    """Send a delivery's event once more, with the same id; an open one: now.

    Opens its own transaction.

    :raises WebhookNotFound: there is no such endpoint, or it has no such delivery.
    :raises WebhookOff: it is switched off.
    """
    check_actor(actor)

    def work(endpoint: Endpoint, now: datetime) -> Delivery:
        _refuse_if_off(endpoint)
        earlier = endpoint.deliveries.filter(sequence=sequence).first()
        if earlier is None:
            raise WebhookNotFound("The webhook has no such delivery.")
        if earlier.open is None:
            return planning.add_again(endpoint, earlier, now=now)
        # One that is under way stays so: its sender is at work.
        Delivery.objects.filter(pk=earlier.pk, open=True, lease_token=None).update(
            due_at=now, updated_at=now
        )
        return earlier

    sent = with_lock(endpoint_uuid, work)
    logger.info("webhook %s sends %s again, by %s", endpoint_uuid, sequence, actor)
    return sent


def replay(
    endpoint_uuid: uuid.UUID, start: int | datetime, *, actor: str, tenant: str = ""
) -> Endpoint:
    """Send all events again from a position, or from a moment, on. None is skipped.

    Opens its own transaction. The events get the ids that they had. Deliveries that are
    open come first. If the endpoint has not come so far yet, nothing changes.

    :raises WebhookNotFound: there is no such endpoint.
    """
    check_actor(actor)

    def work(endpoint: Endpoint, now: datetime) -> Endpoint:
        position = start if isinstance(start, int) else position_at(start)
        before = max(0, position - 1)
        if before < endpoint.position:
            guarded_update(
                Endpoint,
                {"pk": endpoint.pk, "position": endpoint.position},
                position=before,
                moved_at=now,
                updated_at=now,
            )
            endpoint.position = before
        return endpoint

    replayed = with_lock(endpoint_uuid, work, tenant)
    logger.info("webhook %s replays from %s, by %s", endpoint_uuid, start, actor)
    return replayed


def position_at(moment: datetime) -> int:
    """Return a position at or before the first event of this moment or later.

    If there is none: the position after the last one. Reads a few rows of the feed.
    """
    began = datetime.min.replace(tzinfo=moment.tzinfo)
    moment -= min(SLACK, moment - began)
    events: QuerySet[Event] = Event.objects.order_by("position")
    last = events.last()
    low, high = 1, (last.position if last else 0) + 1
    while low < high:
        middle = (low + high) // 2
        event = events.filter(position__gte=middle).first()
        if event is None or event.created_at >= moment:
            high = middle
        else:
            low = event.position + 1
    return low


def _refuse_if_off(endpoint: Endpoint) -> None:
    if not endpoint.enabled:
        raise WebhookOff(str(WebhookOff.__doc__))

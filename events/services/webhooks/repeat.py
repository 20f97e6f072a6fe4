"""Sending again: a test event, one event once more, or all from a moment on."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from django.db.models import Q

from events.errors import WebhookNotFound, WebhookOff
from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.services import moments
from events.services.webhooks import history, planning, switch
from events.services.webhooks.endpoints import with_lock
from events.services.webhooks.history import Shown
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import guarded_update

logger = logging.getLogger(__name__)


def send_test(endpoint_uuid: uuid.UUID, *, actor: str, tenant: str = "") -> Shown:
    """Plan a test event for the endpoint. It is sent once, and no other one waits for it.

    Opens its own transaction.

    :raises WebhookNotFound: there is no such endpoint.
    :raises WebhookOff: it is switched off.
    """
    check_actor(actor)
    event_id = planning.new_test_id()

    def work(endpoint: Endpoint, now: datetime) -> Shown:
        _refuse_if_off(endpoint)
        # It is there already if the answer to an earlier COMMIT was lost. Its lane, not
        # its event, is in an index.
        states = OPEN | Q(open=None)
        mine = endpoint.deliveries.filter(states, lane=event_id).order_by()[:1]
        made = next(iter(mine), None) or planning.add_test(endpoint, event_id, now=now)
        return history.shown(endpoint, [made])[0]

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

    Opens its own transactions. The events get the ids that they had. Deliveries that are
    open come first, and begin anew at once: who asks for a replay expects to receive. If
    the endpoint has not come so far yet, its place does not change.

    :raises WebhookNotFound: there is no such endpoint.
    """
    check_actor(actor)
    # Before the lock: the first replay from a time may read all of the feed.
    position = start if isinstance(start, int) else moments.first_position(start)
    before = max(0, position - 1)

    def work(endpoint: Endpoint, now: datetime) -> Endpoint:
        if before < endpoint.position:
            guarded_update(
                Endpoint,
                {"pk": endpoint.pk, "position": endpoint.position},
                position=before,
            )
            endpoint.position = before
        switch.begin_anew(endpoint, now=now)
        return endpoint

    replayed = with_lock(endpoint_uuid, work, tenant)
    logger.info("webhook %s replays from %s, by %s", endpoint_uuid, start, actor)
    return replayed


def _refuse_if_off(endpoint: Endpoint) -> None:
    if not endpoint.enabled:
        raise WebhookOff(str(WebhookOff.__doc__))

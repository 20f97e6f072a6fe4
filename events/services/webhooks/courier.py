"""Delivering: claim, send outside of any transaction, record.

Any number of couriers may run. One that is killed at any moment loses nothing: its lease
ends, and another one sends the event again, with the same id.

What follows in the lane of a received delivery is sent at once, in the thread of the HTTP
client: it does not wait for the claims and records of this process.
"""

from __future__ import annotations

import logging
import queue
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from events.services import moments
from events.services.webhooks import claim, prune, record
from events.services.webhooks.claim import Sending
from events.services.webhooks.places import Places
from events.services.webhooks.record import Result
from events.utils import signatures
from events.utils.addresses import Policy
from events.utils.webhook_client import Reply, WebhookClient
from wallets.utils import clock
from wallets.utils.damaged import DAMAGED
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import stopping

logger = logging.getLogger(__name__)

# How often rows that are no longer needed are removed, in seconds, and the latest times
# of at most so many new blocks of the feed are noted.
PRUNE_INTERVAL = 60.0
MOST_BLOCKS = 20


def make_client() -> WebhookClient:
    """Return the configured client."""
    return WebhookClient(
        Policy.of(settings),
        deadline=settings.WEBHOOK_DEADLINE,
        connect_timeout=settings.WEBHOOK_CONNECT_TIMEOUT,
        size=2 * settings.WEBHOOK_CONCURRENCY,  # with the slow calls
    )


class Courier:
    """Delivers webhooks, with up to WEBHOOK_CONCURRENCY under way. For one thread.

    And as many more that are slow (`places`).
    """

    def __init__(self, client: WebhookClient | None = None) -> None:
        self._client = client or make_client()
        # Results, each with whether it is the last one of its lane.
        self._replies: queue.SimpleQueue[tuple[Result, bool]] = queue.SimpleQueue()
        self._unrecorded: list[Result] = []
        self._under_way = 0  # lanes whose last result was not taken yet
        self._places = Places(settings.WEBHOOK_CONCURRENCY)
        self._sent = 0
        self._turn = 0  # the endpoint that is served first, in turn
        # Endpoints that did not receive something since they were claimed last. The
        # client's thread adds to it.
        self._failed: set[int] = set()

    def run(self, *, seconds: float = float("inf")) -> None:
        """Deliver for `seconds`, or until the process is being stopped.

        Opens its own transactions. What is under way then is waited for. A database that
        is away delays deliveries and ends nothing.
        """
        ends = clock.elapsed() + seconds
        next_prune = clock.elapsed()
        while not stopping.wait(0) and clock.elapsed() < ends:
            close_old_connections()
            try:
                begun = self._begin()
                if clock.elapsed() >= next_prune:
                    next_prune = clock.elapsed() + PRUNE_INTERVAL
                    prune.prune()
                    moments.note(most=MOST_BLOCKS)
            except (DatabaseError, InterfaceError) as error:
                begun = 0
                self._tell(error)
            self._collect(0 if begun else settings.WEBHOOK_POLL)
        self._finish()

    def run_once(self) -> int:
        """Deliver what is due now, wait for the replies; return how many were sent.

        Opens its own transactions.
        """
        before = self._sent
        self._begin()
        while self._under_way:
            self._collect(settings.WEBHOOK_DEADLINE)
        return self._sent - before

    def _finish(self) -> None:
        """Record what is under way, while there is time before the process is killed."""
        ends = clock.elapsed() + settings.WEBHOOK_DEADLINE
        while self._under_way and (left := ends - clock.elapsed()) > 0:
            self._collect(left)

    def _begin(self) -> int:
        """Claim and send what is due, each endpoint in its turn; return how much."""
        waiting = claim.endpoints_with_work(database_now())
        if not waiting:
            return 0
        self._turn += 1
        at = self._turn % len(waiting)
        begun = 0
        for endpoint_id, room in self._places.turn(waiting[at:] + waiting[:at]):
            self._failed.discard(endpoint_id)
            for sending in _claimed(endpoint_id, room):
                self._under_way += 1
                self._send(sending)
                begun += 1
        return begun

    def _send(self, sending: Sending) -> None:
        """Start sending; `_ended` gets the reply. Does not raise."""
        endpoint, delivery = sending.endpoint, sending.delivery
        self._places.begin(_lane_of(sending), endpoint.pk)
        try:
            headers = signatures.headers(
                delivery.event_id,
                delivery.body,
                endpoint.active_secrets(sending.now),
                now=sending.now,
            )
            call = self._client.send_later(
                endpoint.url, headers, delivery.body, send_before=sending.send_before
            )
        except signatures.UnreadableSecret:
            self._places.end(_lane_of(sending), received=False)
            self._replies.put(((sending, None), True))
        except Exception as error:
            logger.exception("a webhook was not sent")
            self._end_lane(sending, Reply(None, f"not sent: {error}"))
        else:
            call.add_done_callback(partial(self._ended, sending))

    def _ended(self, sending: Sending, future: Future[Reply]) -> None:
        """Send what follows, if this was received. Runs in the client's thread."""
        error = future.exception()
        reply = Reply(None, f"not sent: {error}") if error else future.result()
        goes_on = reply.received and sending.endpoint.pk not in self._failed
        next_ = sending.following() if goes_on and not stopping.wait(0) else None
        if next_ is None:
            self._end_lane(sending, reply)
        else:
            self._replies.put(((replace(sending, later=()), reply), False))
            self._send(next_)

    def _end_lane(self, sending: Sending, reply: Reply) -> None:
        if not reply.received:
            self._failed.add(sending.endpoint.pk)
        self._places.end(_lane_of(sending), received=reply.received)
        self._replies.put(((sending, reply), True))

    def _collect(self, seconds: float) -> None:
        """Wait for a reply, at most so long; record all that are there."""
        if self._wait(seconds):
            with suppress(queue.Empty):
                while True:
                    self._take(self._replies.get_nowait())
        waiting, self._unrecorded = self._unrecorded, []
        for results in _by_endpoint(waiting):
            try:
                record.record(results)
            except DAMAGED:
                # Sent again when the lease has ended.
                logger.exception("damaged rows: a result of webhooks is not recorded")
            except (DatabaseError, InterfaceError) as error:
                # Kept for the next time. When the lease has ended, a claim by another
                # courier makes the result worthless.
                self._unrecorded += results
                self._tell(error)

    def _wait(self, seconds: float) -> bool:
        """Wait for a reply; return whether there is something to record."""
        if not self._under_way and not self._unrecorded:
            stopping.wait(seconds)
            return False
        if seconds:
            try:
                self._take(self._replies.get(timeout=seconds))
            except queue.Empty:
                return False
        return True

    def _take(self, reply: tuple[Result, bool]) -> None:
        result, ends_lane = reply
        self._under_way -= ends_lane
        self._sent += 1
        self._unrecorded.append(result)

    def _tell(self, error: Exception) -> None:
        logger.error("webhooks wait for the database: %s", " ".join(str(error).split()))
        close_old_connections()


def _lane_of(sending: Sending) -> tuple[uuid.UUID, str]:
    """Return the name of the calls that follow each other by one claim."""
    return sending.token, sending.delivery.lane


def _claimed(endpoint_id: int, room: int) -> list[Sending]:
    """Return what may be sent to the endpoint now.

    An event whose rows are damaged stops what comes after it, until it is repaired. It
    does not stop what is planned already, nor this process.
    """
    try:
        return claim.claim(endpoint_id, room=room)
    except DAMAGED:
        logger.exception("damaged rows: webhooks wait for them, verify the ledger")
    try:
        return claim.claim(endpoint_id, room=room, plans=False)
    except DAMAGED:
        logger.exception("damaged rows: a webhook is left out")
        return []


def _by_endpoint(results: Sequence[Result]) -> list[list[Result]]:
    found: dict[int, list[Result]] = {}
    for result in results:
        found.setdefault(result[0].endpoint.pk, []).append(result)
    return list(found.values())

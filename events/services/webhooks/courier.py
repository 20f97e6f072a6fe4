"""Delivering: claim, send outside of any transaction, record.

Any number of couriers may run. One that is killed at any moment loses nothing: its lease
ends, and another one sends the event again, with the same id.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from events.services.webhooks import claim, prune, record
from events.services.webhooks.claim import Sending
from events.services.webhooks.record import Result
from events.utils import signatures
from events.utils.addresses import Policy
from events.utils.webhook_client import Reply, WebhookClient
from wallets.utils import clock
from wallets.utils.damaged import DAMAGED
from wallets.utils.database.transactions import database_now
from wallets.utils.messaging import stopping

logger = logging.getLogger(__name__)

# How often rows that are no longer needed are removed, in seconds.
PRUNE_INTERVAL = 60.0


def make_client() -> WebhookClient:
    """Return the configured client."""
    return WebhookClient(
        Policy.of(settings),
        deadline=settings.WEBHOOK_DEADLINE,
        connect_timeout=settings.WEBHOOK_CONNECT_TIMEOUT,
        size=settings.WEBHOOK_CONCURRENCY,
    )


class Courier:
    """Delivers webhooks, with up to WEBHOOK_CONCURRENCY under way. For one thread."""

    def __init__(self, client: WebhookClient | None = None) -> None:
        self._client = client or make_client()
        self._replies: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._unrecorded: list[Result] = []
        self._under_way = self._sent = 0
        self._turn = 0  # the endpoint that is served first, in turn
        # Endpoints that did not receive something since they were claimed last.
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
        for endpoint_id in waiting[at:] + waiting[:at]:
            room = settings.WEBHOOK_CONCURRENCY - self._under_way
            if room < 1:
                break
            self._failed.discard(endpoint_id)
            for sending in _claimed(endpoint_id, room):
                self._send(sending)
                begun += 1
        return begun

    def _send(self, sending: Sending) -> None:
        self._under_way += 1
        self._sent += 1
        endpoint, delivery = sending.endpoint, sending.delivery
        try:
            headers = signatures.headers(
                delivery.event_id,
                delivery.body,
                endpoint.active_secrets(sending.now),
                now=sending.now,
            )
        except signatures.UnreadableSecret:
            self._replies.put((sending, None))
            return
        call = self._client.send_later(
            endpoint.url, headers, delivery.body, send_before=sending.send_before
        )

        def ended(future: Future[Reply]) -> None:
            error = future.exception()
            reply = Reply(None, f"not sent: {error}") if error else future.result()
            self._replies.put((sending, reply))

        call.add_done_callback(ended)

    def _collect(self, seconds: float) -> None:
        """Wait for a reply, at most so long; record all that are there."""
        if self._wait(seconds):
            while not self._replies.empty():
                self._take(self._replies.get())
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
        if not self._under_way and not self._unrecorded:
            stopping.wait(seconds)
            return False
        try:
            self._take(self._replies.get(timeout=seconds) if seconds else None)
        except queue.Empty:
            return False
        return True

    def _take(self, result: Result | None) -> None:
        """Send what follows a delivery that was received, and keep the result."""
        if result is None:
            return
        self._under_way -= 1
        sending, reply = result
        endpoint_id = sending.endpoint.pk
        if reply is None or not reply.received:
            self._failed.add(endpoint_id)
        elif endpoint_id not in self._failed and (next_ := sending.following()):
            self._send(next_)
            sending = replace(sending, later=())
        self._unrecorded.append((sending, reply))

    def _tell(self, error: Exception) -> None:
        logger.error("webhooks wait for the database: %s", " ".join(str(error).split()))
        close_old_connections()


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

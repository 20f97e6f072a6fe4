"""Recording what came of attempts: delivered, another attempt, or switched off."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Q, When

from events.models.delivery import MAX_ATTEMPTS, MAX_KEPT_ANSWER, OPEN, Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import retries, switch
from events.services.webhooks.claim import Sending
from events.services.webhooks.planning import FAILS_AFTER, TEST_TYPE
from events.services.webhooks.retries import (
    BUSY_SECONDS,
    BUSY_STATUSES,
    quiet_seconds,
)
from events.utils.webhook_client import Reply
from wallets.utils import instants
from wallets.utils.database.transactions import (
    database_now,
    lock_rows,
    run_in_transaction,
)

logger = logging.getLogger(__name__)

GONE = 410
# The wait of deliveries that could not be signed; the receiver has no part in that.
UNSIGNED_WAIT_SECONDS = 60
# The same for those that were not sent for another reason of ours.
OURS_WAIT_SECONDS = 5
_UNSIGNED = "not signed"
# A delivery that has failed is not tried sooner than this because others were received.
HURRY_WAIT = timedelta(minutes=5)

# A delivery that was sent, with its reply; None: it could not be signed.
Result = tuple[Sending, Reply | None]


def record(results: Sequence[Result]) -> None:
    """Write the results of one endpoint's deliveries. Opens its own transaction.

    A result whose lease another sender has taken over is dropped, as is one whose
    delivery is gone: at worst the event is sent once more. What is still behind a
    sending (`later`) is released: it is not sent by this claim.
    """
    endpoint_id = results[0][0].endpoint.pk

    def work() -> None:
        locked = lock_rows(Endpoint.objects.filter(pk=endpoint_id))
        if not locked:
            return
        (endpoint,) = locked
        now = database_now()
        before = endpoint.failures_in_row
        for sending, reply in results:
            _record(endpoint, sending, reply, now)
            _release(sending, now)
        if endpoint.failures_in_row != before:
            Endpoint.objects.filter(pk=endpoint.pk).update(
                failures_in_row=endpoint.failures_in_row
            )
        if before >= FAILS_AFTER and endpoint.failures_in_row == 0:
            _hurry(endpoint, now)

    run_in_transaction(work)


def _hurry(endpoint: Endpoint, now: datetime) -> None:
    """Make what has failed due: the endpoint is back after an outage.

    Else a wallet whose first event failed last would wait for up to a day. An endpoint
    that receives some events and refuses others looks the same, again and again. So
    nothing is tried twice in HURRY_WAIT, and what fails then is not counted.
    """
    waiting = Delivery.objects.filter(OPEN, endpoint=endpoint, lease_token=None)
    lately = Q(claimed_at__gt=now - HURRY_WAIT)
    soon = now + HURRY_WAIT
    waiting.filter(lately, due_at__gt=soon).update(due_at=soon, updated_at=now)
    waiting.filter(Q(claimed_at=None) | ~lately, due_at__gt=now).update(
        due_at=now, updated_at=now
    )


def _release(sending: Sending, now: datetime) -> None:
    """Give the right to send what is behind this one back; it was not sent."""
    if sending.later:
        Delivery.objects.filter(
            pk__in=[row.pk for row in sending.later], lease_token=sending.token
        ).update(
            lease_token=None,
            due_at=now,
            updated_at=now,
            claimed_at=Case(When(attempts=0, then=None), default=F("claimed_at")),
        )


def _record(
    endpoint: Endpoint, sending: Sending, reply: Reply | None, now: datetime
) -> None:
    if reply is None:
        _record_unsigned(endpoint, sending, now)
        return
    shown = {
        "http_status": reply.status,
        "answer": reply.text,
        "answered_at": now,
        "last_attempts": _with_attempt(sending, reply.status, reply.text, now),
    }
    switch.is_signed_again(endpoint)
    late = _is_late(endpoint, sending)
    if reply.ours:
        due_at = now + timedelta(seconds=OURS_WAIT_SECONDS)
        _write(sending, now, **shown, due_at=due_at)
        return
    if reply.received:
        if not late:
            endpoint.failures_in_row = 0
        _write(sending, now, **shown, **_closed(Delivery.Outcome.DELIVERED, now))
        return
    if not late:
        _be_quiet(endpoint, reply, now)
    if sending.delivery.event_type == TEST_TYPE:
        closed = _closed(Delivery.Outcome.FAILED, now)
        written = _write(sending, now, **shown, **closed)
        if written and reply.status == GONE and not late:
            switch.off(endpoint, switch.OffBecause.GONE, detail=_said(reply), now=now)
    elif late:
        _write(sending, now, **shown, failures=0, due_at=now)
    else:
        _record_failure(endpoint, sending, reply, now, shown)


def _is_late(endpoint: Endpoint, sending: Sending) -> bool:
    """Return whether the call says nothing about the endpoint as it is now.

    It went to an earlier URL, or was claimed before the deliveries began anew. What it
    sent is due at once, as `switch.begin_anew` has promised.
    """
    at_claim = sending.endpoint
    return (at_claim.url, at_claim.beginnings) != (endpoint.url, endpoint.beginnings)


def _record_unsigned(endpoint: Endpoint, sending: Sending, now: datetime) -> None:
    late = _is_late(endpoint, sending) or sending.endpoint.secret != endpoint.secret
    wait = 0 if late else UNSIGNED_WAIT_SECONDS
    kept = _with_attempt(sending, None, _UNSIGNED, now)
    due_at = now + timedelta(seconds=wait)
    changes = {"due_at": due_at, "answer": _UNSIGNED, "last_attempts": kept}
    if _write(sending, now, **changes) and not late:
        switch.tell_unreadable_secret(endpoint, now=now)


def _with_attempt(
    sending: Sending, status: int | None, answer: str, now: datetime
) -> list[dict[str, Any]]:
    """Return the kept attempts of the delivery, this one first."""
    made = {
        "attempt": sending.delivery.attempts + 1,  # it was read before the claim
        "sent": instants.write(sending.now),
        "ended": instants.write(now),
        "status": status,
        "answer": answer[:MAX_KEPT_ANSWER],
    }
    return [made, *(sending.delivery.last_attempts or [])][:MAX_ATTEMPTS]


def _be_quiet(endpoint: Endpoint, reply: Reply, now: datetime) -> None:
    """Send nothing to the endpoint for as long as its receiver asks for, by 429 or 503.

    If it only says that it is overloaded: one event at a time, for a while.
    """
    if reply.status in BUSY_STATUSES:
        endpoint.busy_until = now + timedelta(seconds=BUSY_SECONDS)
        Endpoint.objects.filter(pk=endpoint.pk).update(busy_until=endpoint.busy_until)
    wait = quiet_seconds(reply.status, reply.retry_after, now=now)
    if not wait:
        return
    until = now + timedelta(seconds=wait)
    if endpoint.quiet_until is None or endpoint.quiet_until < until:
        endpoint.quiet_until = until
        Endpoint.objects.filter(pk=endpoint.pk).update(quiet_until=until)


def _said(reply: Reply) -> str:
    return f"{reply.status or 'No answer'}: {reply.text[:200]}"


def _record_failure(
    endpoint: Endpoint,
    sending: Sending,
    reply: Reply,
    now: datetime,
    shown: dict[str, Any],
) -> None:
    endpoint.failures_in_row += 1
    failures, due_at = _next_attempt(sending, reply, now)
    if due_at is not None:
        shown["last_attempts"][0]["next"] = instants.write(due_at)
    if not _write(sending, now, **shown, failures=failures, due_at=due_at or now):
        return
    logger.info(
        "webhook failed: %s",
        endpoint.uuid,
        extra={"attempt": failures, "status": reply.status},
    )
    if reply.status == GONE:
        switch.off(endpoint, switch.OffBecause.GONE, detail=_said(reply), now=now)
    elif due_at is None:
        switch.off(endpoint, switch.OffBecause.FAILING, detail=_said(reply), now=now)


def _next_attempt(
    sending: Sending, reply: Reply, now: datetime
) -> tuple[int, datetime | None]:
    """Return how many attempts of the schedule have failed, and when the next one is.

    None: that was the last one. An attempt before its time, after a success or because
    somebody asked for it, is none of the schedule, which then goes on as before.
    """
    delivery, asked = sending.delivery, reply.retry_after
    if delivery.failures:  # else the schedule begins, perhaps anew
        planned = retries.planned(delivery.last_attempts or [], sending.now)
        if planned is not None:
            least = now + timedelta(seconds=retries.asked_wait(asked, now=now))
            return delivery.failures, max(planned, least)
    failures = delivery.failures + 1
    waits = settings.WEBHOOK_RETRIES
    wait = retries.next_wait(failures, waits, retry_after=asked, now=now)
    return failures, None if wait is None else now + timedelta(seconds=wait)


def _closed(outcome: Delivery.Outcome, now: datetime) -> dict[str, Any]:
    return {"open": None, "outcome": outcome, "closed_at": now}


def _write(sending: Sending, now: datetime, **changes: Any) -> bool:
    """Write the result, if this sender still has the lease; return whether it had."""
    mine = Delivery.objects.filter(
        pk=sending.delivery.pk, lease_token=sending.token, open=True
    )
    if sending.was_later:
        changes |= {"attempts": F("attempts") + 1, "claimed_at": sending.now}
    return mine.update(lease_token=None, updated_at=now, **changes) == 1

"""Claiming deliveries: the right to send each of them once, for a limited time.

The first open delivery of a lane is claimed, together with those that follow it. Each is
sent only when the one before was received, so an endpoint gets the events of a wallet in
their order. All claims of an endpoint hold its lock.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet

from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.services import feed
from events.services.webhooks import lanes
from events.services.webhooks.planning import FAILS_AFTER, plan
from events.services.webhooks.retries import MAX_QUIET, is_busy
from wallets.utils import clock
from wallets.utils.database.transactions import (
    database_now,
    lock_rows,
    run_in_transaction,
)

# The most pages of the feed that one turn plans, if few events are wanted.
MAX_PAGES = 5
# The most endpoints that one statement asks for.
MOST_IDS = 100
# The most deliveries that are claimed behind the first ones of their lanes, and for how
# long (seconds) they are sent without another look at the endpoint.
MAX_LATER = 100
LATER_SECONDS = 1.0


@dataclass(frozen=True)
class Sending:
    """The right to send a delivery once, before `send_before` (`clock.elapsed`).

    `now`: when it is sent, by the database's clock, as of `at` (`clock.elapsed`). When it
    was received, the first one `later` may be sent, before `later_before`. Whatever of
    them is not sent then must be released. `was_later`: it was itself such a one.
    """

    delivery: Delivery
    endpoint: Endpoint
    token: uuid.UUID
    now: datetime
    at: float
    send_before: float
    later_before: float
    later: tuple[Delivery, ...] = ()
    was_later: bool = False

    def following(self) -> Sending | None:
        """Return the right to send the next one; None: there is none any more."""
        at = clock.elapsed()
        if not self.later or at > self.later_before:
            return None
        return replace(
            self,
            delivery=self.later[0],
            later=self.later[1:],
            was_later=True,
            now=self.now + timedelta(seconds=at - self.at),
            at=at,
        )


def endpoints_with_work(now: datetime) -> list[int]:
    """Return the endpoints that have a due delivery, or are behind the feed."""
    rows = Endpoint.objects.filter(_is_sent_to(now), enabled=True)
    places = dict(rows.values_list("pk", "position"))
    last = feed.last_position()
    work = {pk for pk, position in places.items() if position < last}
    others = sorted(places.keys() - work)
    for first in range(0, len(others), MOST_IDS):
        work.update(lanes.with_due(others[first : first + MOST_IDS], now))
    return sorted(work)


def _is_sent_to(now: datetime) -> Q:
    # A receiver asks for MAX_QUIET at most. Beyond that the clock has been set back since.
    too_far = Q(quiet_until__gt=now + timedelta(seconds=MAX_QUIET))
    return Q(quiet_until=None) | Q(quiet_until__lte=now) | too_far


def claim(endpoint_id: int, *, room: int, plans: bool = True) -> list[Sending]:
    """Plan and claim deliveries of up to `room` lanes. Opens its own transaction.

    Fewer are claimed if WEBHOOK_ENDPOINT_CONCURRENCY are under way, in any process; for
    an endpoint that fails, if one is.
    None are claimed of one whose receiver asked for quiet.
    Another process at work on this endpoint is not waited for. With `plans=False` the
    feed is not read.
    """
    token = uuid.uuid4()
    leased_at = clock.elapsed()

    def work() -> list[Sending]:
        is_sent_to = _is_sent_to(database_now())
        rows = Endpoint.objects.filter(is_sent_to, pk=endpoint_id, enabled=True)
        locked = lock_rows(rows, skip_locked=True)
        if not locked:
            return []
        (endpoint,) = locked
        # After the lock: what another process wrote before it does not lie ahead.
        now = database_now()
        if endpoint.quiet_until is not None and endpoint.quiet_until > now:
            Endpoint.objects.filter(pk=endpoint.pk).update(quiet_until=None)
        most = min(room, places_left(endpoint, now))
        if most < 1:
            return []
        found = lanes.firsts_due(endpoint, now, most)
        for _ in range(MAX_PAGES if plans else 0):
            if len(found) >= most:
                break
            more = plan(endpoint, now=now)
            found = lanes.firsts_due(endpoint, now, most)
            if not more:
                break
        return _lease(found, endpoint, token, now, leased_at)

    return run_in_transaction(work)


def places_left(endpoint: Endpoint, now: datetime) -> int:
    """Return of how many more lanes a delivery may be under way; 0 or less: of none.

    An endpoint that fails has one place: its calls would fill those of others. So has
    one whose receiver is overloaded.
    """
    fails = endpoint.failures_in_row >= FAILS_AFTER
    has_one = fails or is_busy(endpoint.busy_until, now)
    most = 1 if has_one else settings.WEBHOOK_ENDPOINT_CONCURRENCY
    taken = under_way(endpoint, now).order_by().values("lane").distinct()
    return int(most - taken.count())


def under_way(endpoint: Endpoint, now: datetime) -> QuerySet[Delivery]:
    """Return the deliveries whose sender has a lease: those that are not due."""
    # Not as `~Q(…)`, for which SQLite uses no index.
    return Delivery.objects.filter(
        OPEN,
        endpoint=endpoint,
        due_at__gt=now,
        updated_at__lte=now,
        lease_token__isnull=False,
    )


def _later_in_lanes(
    now: datetime, firsts: Sequence[Delivery]
) -> dict[str, list[Delivery]]:
    """Return what is due behind the first ones, by lane, in order; without gaps."""
    found: dict[str, list[Delivery]] = {first.lane: [] for first in firsts}
    waits = set()
    for row in lanes.behind(firsts, MAX_LATER):
        if row.lane not in waits and lanes.is_due(row, now):
            found[row.lane].append(row)
        else:
            waits.add(row.lane)
    return found


def _lease(
    firsts: Sequence[Delivery],
    endpoint: Endpoint,
    token: uuid.UUID,
    now: datetime,
    leased_at: float,
) -> list[Sending]:
    """Write the claim of lanes; whoever held an earlier lease has lost it.

    An attempt of a delivery that is sent later counts when its end is recorded.
    """
    later = _later_in_lanes(now, firsts)
    leased = {
        "lease_token": token,
        "claimed_at": now,
        "due_at": now + timedelta(seconds=settings.WEBHOOK_LEASE),
        "updated_at": now,
    }
    Delivery.objects.filter(pk__in=[row.pk for row in firsts]).update(
        **leased, attempts=F("attempts") + 1
    )
    if behind := [row.pk for rows in later.values() for row in rows]:
        Delivery.objects.filter(pk__in=behind).update(**leased)
    send_before = leased_at + settings.WEBHOOK_LEASE - settings.WEBHOOK_DEADLINE
    return [
        Sending(
            row,
            endpoint,
            token,
            now=now,
            at=leased_at,
            send_before=send_before,
            later_before=leased_at + LATER_SECONDS,
            later=tuple(later[row.lane]),
        )
        for row in firsts
    ]

"""Whether webhooks are delivered. Reads only, a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.models.event import Event
from events.services import feed
from events.services.webhooks import claim, lanes
from events.services.webhooks.planning import FAILS_AFTER

# An event is planned within a second. From here on something is wrong (seconds).
BEHIND_AFTER = 60.0
# The most lanes of an endpoint that are asked for how long they wait.
MOST_FIRSTS = 10


@dataclass(frozen=True)
class WebhookHealth:
    """How far deliveries are.

    `behind_seconds`: for how long an event could have been planned, or sent, and was not,
    for a webhook that works, has not asked for quiet, and is not slow (what was planned
    counts when it is more than BEHIND_AFTER). `waiting`: deliveries
    that are not there yet. `failing`: webhooks that are on and fail. `switched_off`:
    those that the service has switched off.
    """

    behind_seconds: float
    waiting: int
    failing: int
    switched_off: int

    @property
    def trouble(self) -> str:
        """What is wrong in words; empty if nothing is. Receivers are not our trouble."""
        if self.behind_seconds <= BEHIND_AFTER:
            return ""
        return f"not delivered: the oldest event waits for {self.behind_seconds:.0f} s"


def look(now: datetime) -> WebhookHealth:
    """Return how far deliveries are at this moment of the database's clock."""
    on = Endpoint.objects.filter(enabled=True)
    failing = Q(failures_in_row__gte=FAILS_AFTER)
    # One that asked for quiet may need as long again until it has caught up.
    quiet = Q(quiet_until__gt=now - timedelta(seconds=BEHIND_AFTER))
    works = on.filter(Q(quiet_until=None) | ~quiet).exclude(failing)
    behind = works.filter(position__lt=feed.last_position())
    planned = works.in_bulk(_with_late(list(works.values_list("pk", flat=True)), now))
    waits = [_waits(endpoint, now) for endpoint in behind]
    waits += [_waits_planned(endpoint, now) for endpoint in planned.values()]
    off = Endpoint.objects.filter(deleted_at=None, enabled=False)
    by_us = (Endpoint.OffBecause.FAILING, Endpoint.OffBecause.GONE)
    return WebhookHealth(
        max(waits, default=0.0),
        Delivery.objects.filter(OPEN, endpoint__in=on).count(),
        on.filter(failing).count(),
        off.filter(off_because__in=by_us).count(),
    )


def _waits(endpoint: Endpoint, now: datetime) -> float:
    """Return for how long (seconds) the next event could have been planned, and was not.

    Not before the endpoint's place moved last: what is behind it could not be planned
    earlier, and a replay goes back to old events.
    """
    events = Event.objects.filter(position__gt=endpoint.position).order_by("position")
    since = events.values_list("created_at", flat=True).first()
    if since is None:
        return 0.0
    if endpoint.moved_at is not None:
        since = max(since, endpoint.moved_at)
    waits = (now - since).total_seconds()
    if waits > BEHIND_AFTER and _is_slow(endpoint, now):
        return 0.0
    return max(0.0, waits)


def _with_late(endpoints: Sequence[int], now: datetime) -> list[int]:
    """Return the endpoints that may have a delivery that should have been sent."""
    since = now - timedelta(seconds=BEHIND_AFTER)
    found: list[int] = []
    for first in range(0, len(endpoints), claim.MOST_IDS):
        some = endpoints[first : first + claim.MOST_IDS]
        found += lanes.with_due(some, now, since=since)
    return found


def _waits_planned(endpoint: Endpoint, now: datetime) -> float:
    """Return for how long (seconds) a planned delivery could have been sent, and was not.

    0 up to BEHIND_AFTER, and while a courier is at work on this endpoint: it has a lease,
    or has just delivered something.
    """
    late = now - timedelta(seconds=BEHIND_AFTER)
    firsts = lanes.firsts_due(endpoint, now, MOST_FIRSTS, since=late)
    since = min((row.due_at for row in firsts), default=now)
    if since > late or claim.under_way(endpoint, now).exists():
        return 0.0
    rows = Delivery.objects.filter(endpoint=endpoint, closed_at__gt=late)
    return 0.0 if rows.exists() else (now - since).total_seconds()


def _is_slow(endpoint: Endpoint, now: datetime) -> bool:
    """Whether its receiver is at work on earlier events: then no more are planned."""
    if not claim.under_way(endpoint, now).exists():
        return False
    has_place = claim.places_left(endpoint, now) > 0
    return not has_place or bool(lanes.with_due([endpoint.pk], now))

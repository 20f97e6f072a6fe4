"""Whether webhooks are delivered. Reads only, a few rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min, Q

from events.models.delivery import OPEN, Delivery
from events.models.endpoint import Endpoint
from events.models.event import Event
from events.services.webhooks.planning import FAILS_AFTER

# An event is planned within a second. From here on something is wrong (seconds).
BEHIND_AFTER = 60.0


@dataclass(frozen=True)
class WebhookHealth:
    """How far deliveries are.

    `behind_seconds`: how long the oldest event waits to be planned for a webhook that
    works and has not asked for quiet. `waiting`: deliveries that are not there yet. `failing`: webhooks that are on
    and fail. `switched_off`: those that the service has switched off.
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
    first = works.aggregate(first=Min("position"))["first"]
    oldest = None
    if first is not None:
        events = Event.objects.filter(position__gt=first).order_by("position")
        oldest = events.values_list("created_at", flat=True).first()
    waits = (now - oldest).total_seconds() if oldest else 0.0
    off = Endpoint.objects.filter(deleted_at=None, enabled=False)
    by_us = (Endpoint.OffBecause.FAILING, Endpoint.OffBecause.GONE)
    return WebhookHealth(
        max(0.0, waits),
        Delivery.objects.filter(OPEN, endpoint__in=on).count(),
        on.filter(failing).count(),
        off.filter(off_because__in=by_us).count(),
    )

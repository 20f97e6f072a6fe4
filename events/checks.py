"""System checks: the configuration of webhooks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def limits_of_webhooks_are_in_order(**_kwargs: Any) -> list[CheckMessage]:
    """The time to connect < the deadline of a call < half of the lease."""
    limits = [
        ("WEBHOOK_CONNECT_TIMEOUT", settings.WEBHOOK_CONNECT_TIMEOUT),
        ("WEBHOOK_DEADLINE", settings.WEBHOOK_DEADLINE),
        ("half of WEBHOOK_LEASE", settings.WEBHOOK_LEASE / 2),
    ]
    return [
        Error(
            f"{small} ({low:g} s) must be less than {large} ({high:g} s).",
            hint="Else a delivery is sent again while its first call is under way.",
            id="events.E001",
        )
        for (small, low), (large, high) in pairwise(limits)
        if low >= high
    ]


# A year: longer waits are mistakes, and infinite ones cannot be added to a time.
LONGEST_DAYS, DAY = 366, 86400


@register()
def waits_of_webhooks_end(**_kwargs: Any) -> list[CheckMessage]:
    """Every wait is between nothing and a year."""
    waits = {
        "WEBHOOK_LEASE": settings.WEBHOOK_LEASE,
        "WEBHOOK_SECRET_OVERLAP": settings.WEBHOOK_SECRET_OVERLAP,
        "WEBHOOK_KEEP_DAYS": settings.WEBHOOK_KEEP_DAYS * DAY,
        **{f"WEBHOOK_RETRIES ({wait:g})": wait for wait in settings.WEBHOOK_RETRIES},
    }
    return [
        Error(f"{name} must be from 0 to {LONGEST_DAYS} days.", id="events.E003")
        for name, seconds in waits.items()
        if not 0 <= seconds <= LONGEST_DAYS * DAY
    ]


@register()
def webhooks_can_be_sent(**_kwargs: Any) -> list[CheckMessage]:
    """At least one call may be under way."""
    names = (
        "WEBHOOK_CONCURRENCY",
        "WEBHOOK_ENDPOINT_CONCURRENCY",
        "WEBHOOK_WINDOW",
        "WEBHOOK_POLL",
        "WEBHOOK_CONNECT_TIMEOUT",
    )
    return [
        Error(f"{name} must be above 0.", id="events.E002")
        for name in names
        if getattr(settings, name) <= 0
    ]

"""What keys add to /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.db.models import Q

from access.models.api_key import ApiKey
from wallets.utils.extensions import Gauge, Health

SOON = timedelta(days=7)


def _keys(now: datetime) -> Health:
    working = ApiKey.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None
    )
    count = working.count()
    ending = working.filter(current=True, expires_at__lte=now + SOON).count()
    return Health(
        "" if count else "missing: nobody can call the API",
        (
            Gauge("api_keys", "Keys that work.", count),
            Gauge(
                "api_keys_ending", "Of these, keys that expire within a week.", ending
            ),
        ),
    )


CHECKS: Mapping[str, Callable[[datetime], Health]] = {"keys": _keys}

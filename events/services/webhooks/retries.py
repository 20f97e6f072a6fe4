"""When a failed delivery is sent again: the schedule of Standard Webhooks. Pure.

Also for how long nothing is sent to a receiver that asked for quiet.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from email.utils import parsedate_to_datetime
from typing import Any

from wallets.utils import instants

# The longest wait that a receiver may ask for: the last step of the schedule.
MAX_RETRY_AFTER = 86400.0
# The answers with which a receiver asks for quiet, by Retry-After, and the longest time
# for which nothing at all is sent to it (seconds). The answer is to one event, so it may
# not stop all others for as long as its own.
QUIET_STATUSES = frozenset({429, 503})
MAX_QUIET = 3600.0
# The answers that say that a receiver is overloaded, and for how long it then gets one
# event at a time (seconds), as Standard Webhooks advises.
BUSY_STATUSES = frozenset({429, 502, 503, 504})
BUSY_SECONDS = 30.0
# A wait is lengthened by up to this fraction, so that many failures do not meet again.
JITTER = 0.2

_SECONDS = re.compile("[0-9]{1,9}")


def next_wait(
    failures: int,
    waits: Sequence[float],
    *,
    retry_after: str,
    now: datetime,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """Return the seconds until the next attempt; None if there is none.

    `failures` counts the failed attempts, this one included. A receiver may ask for a
    longer wait, not for a shorter one.
    """
    if failures > len(waits):
        return None
    wait = waits[failures - 1] * (1 + JITTER * chance())
    return max(wait, asked_wait(retry_after, now=now))


def asked_wait(retry_after: str, *, now: datetime) -> float:
    """Return for how many seconds the receiver asks the event to wait."""
    return min(_asked(retry_after, now), MAX_RETRY_AFTER)


def planned(kept: Sequence[Mapping[str, Any]], sent: datetime) -> datetime | None:
    """Return the next attempt of the schedule if something was sent before its time.

    `kept` are the kept attempts, newest first. None: the time had come; or the clock has
    been set back since it was planned; or a row of an earlier release does not say it.
    """
    for one in kept:
        if "next" in one:
            ended, next_ = (instants.parse(one[name]) for name in ("ended", "next"))
            return next_ if ended <= sent < next_ else None
    return None


def quiet_seconds(status: int | None, retry_after: str, *, now: datetime) -> float:
    """Return for how many seconds nothing should be sent to the receiver; 0: no limit."""
    if status not in QUIET_STATUSES:
        return 0.0
    return min(_asked(retry_after, now), MAX_QUIET)


def is_busy(busy_until: datetime | None, now: datetime) -> bool:
    """Whether a receiver gets one event at a time now.

    A time that lies further ahead is of a clock that has been set back since.
    """
    if busy_until is None:
        return False
    return now < busy_until <= now + timedelta(seconds=BUSY_SECONDS)


def _asked(retry_after: str, now: datetime) -> float:
    """Return the seconds that the Retry-After header asks for; 0 if it is no use."""
    if _SECONDS.fullmatch(retry_after):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt_timezone.utc)
    return max(0.0, (moment - now) / timedelta(seconds=1))

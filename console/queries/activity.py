"""The events of the last hour by minute, from the transitions. Reads only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone

from django.core.cache import cache
from django.db.models import Count
from django.db.models.functions import TruncMinute

from wallets.models.states import Event, State
from wallets.models.transition import Transition
from wallets.utils import clock
from wallets.utils.database import readable

MINUTE = timedelta(minutes=1)
# After this time all rows of a minute are committed, and its count is cached.
SETTLED = timedelta(minutes=2)
KEEP_SECONDS = 2 * 3600
# The minutes of one query, the newest first; a busy hour needs several page views.
CHUNK = 10
BUDGET_SECONDS = 0.5
SAMPLE = 2000

_FAILED = {State.FAILED_RETRYABLE.value, State.FAILED_FINAL.value}

# The keys of a minute's counter.
PAID, FAILED, RETRIED = "paid", "failed", "retried"
BANK_ANSWERS = {
    Event.ACCEPTED.value: "accepted",
    Event.REJECTED.value: "rejected",
    Event.NOT_SENT.value: "unreachable",
    Event.UNKNOWN.value: "unknown",
}


@dataclass(frozen=True)
class Activity:
    """Counters of consecutive minutes from `start`; `complete`: none is missing."""

    start: datetime
    minutes: list[Counter[str]]
    complete: bool = True

    def series(self, key: str) -> list[int]:
        """Return one number for each minute."""
        return [minute[key] for minute in self.minutes]

    def total(self, key: str, *, last: int) -> int:
        """Return the sum of the last minutes."""
        return sum(self.series(key)[-last:])


def of_last_hour(now: datetime, minutes: int = 60) -> Activity:
    """Count the events of the last hour, including the current minute."""
    last = now.replace(second=0, microsecond=0)
    starts = [last - back * MINUTE for back in range(minutes)]  # newest first
    known = cache.get_many([_key(start) for start in starts])
    counters = {start: known[_key(start)] for start in starts if _key(start) in known}
    ends = clock.elapsed() + BUDGET_SECONDS
    complete = True
    for index in range(0, minutes, CHUNK):
        missing = [one for one in starts[index : index + CHUNK] if one not in counters]
        if missing and clock.elapsed() < ends:
            counters |= _count(missing, now)
        elif missing:
            complete = False
    in_order = [counters.get(start, Counter()) for start in reversed(starts)]
    return Activity(starts[-1], in_order, complete)


def lateness_of_last_hour(now: datetime) -> list[float]:
    """Return the lateness (seconds) of the newest SAMPLE payouts, sorted."""
    since = now - timedelta(hours=1)
    paid = Transition.objects.filter(
        to_state=State.COMPLETED.value, created_at__gte=since
    )
    # Recorded payments say nothing about lateness.
    paid = paid.exclude(event=Event.RECORD_PAID.value).order_by("-created_at")
    times = paid.values_list("transaction__scheduled_for", "transaction__executed_at")
    return sorted(
        (done - due).total_seconds()
        for due, done in readable.values(times[:SAMPLE], SAMPLE)
        if due and done
    )


def percentile(ordered: list[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted numbers; None of none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _key(start: datetime) -> str:
    return f"console:minute:{start:%Y%m%d%H%M}"


def _count(missing: list[datetime], now: datetime) -> dict[datetime, Counter[str]]:
    """Count the minutes in one query; cache those that are complete."""
    rows = Transition.objects.filter(
        created_at__gte=min(missing), created_at__lt=max(missing) + MINUTE
    )
    groups = (
        rows.order_by()
        .annotate(minute=TruncMinute("created_at", tzinfo=dt_timezone.utc))
        .values_list("minute", "event", "from_state", "to_state")
        .annotate(count=Count("pk"))
    )
    found: dict[datetime, Counter[str]] = {start: Counter() for start in missing}
    for minute, event, before, after, count in groups:
        if minute in found:
            for key in _keys(event, before, after):
                found[minute][key] += count
    settled = {
        _key(start): counter
        for start, counter in found.items()
        if start + MINUTE + SETTLED <= now
    }
    cache.set_many(settled, KEEP_SECONDS)
    return found


def _keys(event: str, before: str, after: str) -> Iterator[str]:
    """Yield the keys that a transition counts for."""
    if after == State.COMPLETED.value:
        yield PAID
    elif after in _FAILED and before not in _FAILED:
        yield FAILED
    elif event == Event.CLAIM.value and before in _FAILED:
        yield RETRIED
    if event in BANK_ANSWERS:
        yield BANK_ANSWERS[event]

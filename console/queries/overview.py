"""The figures of the overview, each from an index. Reads only.

They are cached for a few seconds, and for longer if they took longer to compute. So any
number of open pages costs the database a bounded share of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import TypeVar

from django.core.cache import cache
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncMinute

from console.queries import activity
from console.queries.activity import Activity
from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import alarm, payout_health, readiness, review
from wallets.services.operations.payout_health import PayoutHealth
from wallets.utils import clock
from wallets.utils.database import readable
from wallets.utils.database.transactions import database_now

T = TypeVar("T")

KEEP_SECONDS = 3
COST = 10
BIN = timedelta(minutes=2)
BINS = 30
COUNT_LIMIT = 100_000
ALARMS_SHOWN = 5
BANK_MINUTES = 15


@dataclass(frozen=True)
class Money:
    """Sums in minor units by currency, and the number of all rows."""

    amounts: dict[str, int]
    count: int


@dataclass(frozen=True)
class Due:
    """What becomes due: how many in each bin of BIN from `start`, and all together."""

    start: datetime
    counts: list[int]
    total: Money


@dataclass(frozen=True)
class Lateness:
    """Percentiles of (executed - scheduled), in seconds; None when nothing was paid."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int


@dataclass(frozen=True)
class Share:
    """One kind of answer of the bank: count, percentage, and where its bar begins."""

    name: str
    tone: str
    count: int
    percent: float
    begins: float


@dataclass(frozen=True)
class Overview:
    """All figures of the first page, as of `now`."""

    now: datetime
    in_wallets: Money
    in_flight: Money
    overdue: int
    due: Due
    activity: Activity
    lateness: Lateness
    unknown: int
    oldest_unknown: datetime | None
    in_review: int
    health: PayoutHealth
    sweeps: Sequence[readiness.Sweep]
    bank: list[Share]
    alarms: list[Alarm]
    alarm_count: int

    @property
    def silent(self) -> list[str]:
        """The sweeps that should have run by now."""
        return [sweep.name for sweep in self.sweeps if sweep.silent]

    @property
    def awaited(self) -> list[str]:
        """The sweeps whose first run since the start is still to come."""
        return [s.name for s in self.sweeps if not (s.lately or s.silent)]


def overview() -> Overview:
    """Return the figures, at most a few seconds old on a small system."""
    return _kept("console:overview", _overview)


def forget() -> None:
    """Drop the cached figures, so that an operator's action shows at once."""
    cache.delete("console:overview")


def _kept(key: str, compute: Callable[[], T]) -> T:
    """Return the cached value; it is kept for COST times as long as it took."""
    value: T | None = cache.get(key)
    if value is None:
        began = clock.elapsed()
        value = compute()
        took = clock.elapsed() - began
        cache.set(key, value, max(KEEP_SECONDS, COST * took))
    return value


def _overview() -> Overview:
    now = database_now()
    happened = activity.of_last_hour(now)
    times = activity.lateness_of_last_hour(now)
    unknown = _processing().filter(unknown_since__isnull=False)
    alarms = alarm.unacknowledged()
    return Overview(
        now=now,
        in_wallets=_kept("console:wallets", _in_wallets),
        in_flight=_of_wallets(_processing()),
        overdue=_overdue(now),
        due=_due(now),
        activity=happened,
        lateness=Lateness(
            activity.percentile(times, 0.50),
            activity.percentile(times, 0.95),
            activity.percentile(times, 0.99),
            len(times),
        ),
        unknown=unknown.count(),
        oldest_unknown=readable.earliest(unknown, "unknown_since"),
        in_review=review.waiting().count(),
        health=payout_health.look(now),
        sweeps=readiness.sweeps(now),
        bank=_bank(happened),
        alarms=list(alarms[:ALARMS_SHOWN]),
        alarm_count=alarms.order_by()[:COUNT_LIMIT].count(),
    )


def _in_wallets() -> Money:
    rows = Wallet.objects.order_by("currency").values_list("currency")
    return _money(rows.annotate(amount=Sum("balance"), count=Count("pk")))


def _processing() -> QuerySet[Transaction]:
    return Transaction.objects.filter(Transaction.is_under_way())


def _pending(before: datetime, *, waits: bool = False) -> QuerySet[Transaction]:
    return Transaction.objects.filter(
        transaction_type=Transaction.TransactionType.WITHDRAWAL,
        status=Transaction.Status.PENDING,
        waits_for_wallet=waits,
        scheduled_for__lt=before,
    )


def _overdue(now: datetime) -> int:
    """Count the overdue withdrawals, also those that wait for their wallets.

    Each from an index of its own.
    """
    parts = (_pending(now, waits=waits).order_by() for waits in (False, True))
    return min(COUNT_LIMIT, sum(rows[:COUNT_LIMIT].count() for rows in parts))


def _of_wallets(rows: QuerySet[Transaction]) -> Money:
    by_currency = rows.order_by("wallet__currency").values_list("wallet__currency")
    return _money(by_currency.annotate(amount=Sum("amount"), count=Count("pk")))


def _money(groups: Iterable[tuple[str, int, int]]) -> Money:
    """Return the sums of currency, amount and count."""
    amounts: dict[str, int] = {}
    total = 0
    for currency, amount, count in groups:
        amounts[currency] = amounts.get(currency, 0) + int(amount)
        total += count
    return Money(amounts, total)


def _due(now: datetime) -> Due:
    start = now.replace(second=0, microsecond=0)
    groups = list(
        _pending(start + BINS * BIN)
        .filter(scheduled_for__gte=now)
        .order_by("wallet__currency")
        .annotate(minute=TruncMinute("scheduled_for", tzinfo=dt_timezone.utc))
        .values_list("minute", "wallet__currency")
        .annotate(total=Sum("amount"), count=Count("pk"))
    )
    counts = [0] * BINS
    for minute, _, _, count in groups:
        counts[(minute - start) // BIN] += count
    return Due(start, counts, _money(group[1:] for group in groups))


def _bank(happened: Activity) -> list[Share]:
    """Return the bank's latest answers by kind."""
    tones = {
        "accepted": "good",
        "rejected": "bad",
        "unknown": "warn",
        "unreachable": "muted",
    }
    counts = {key: happened.total(key, last=BANK_MINUTES) for key in tones}
    total = sum(counts.values())
    shares, before = [], 0
    for key, tone in tones.items():
        if total:
            percent, begins = 100 * counts[key] / total, 100 * before / total
            shares.append(Share(key, tone, counts[key], percent, begins))
        before += counts[key]
    return shares

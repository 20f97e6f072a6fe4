"""The figures of /metrics, computed from the database on each request.

Workers are not scraped, and processes come and go, so the counters come from the
append-only tables. Old rows are counted once, and their totals are stored in `Tally`.
Nothing else is changed.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.models import Count, QuerySet, Sum

from wallets.models.ledger import Movement
from wallets.models.states import Event, State
from wallets.models.tally import Tally
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.operations import (
    alarm,
    host_clock,
    payout_health,
    readiness,
    review,
)
from wallets.utils.database import readable
from wallets.utils.database.transactions import database_now, run_in_transaction
from wallets.utils.extensions import Gauge, health_checks

logger = logging.getLogger(__name__)

# A row is committed within seconds of its time. No row before one of this age can still
# be uncommitted.
SETTLED = timedelta(minutes=1)
# The most rows of one count. A large system is counted in several requests.
BATCH = 50_000
COUNT_LIMIT = 100_000

LATENESS_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, float("inf"))

OUTCOMES = {
    State.COMPLETED.value: "paid",
    State.FAILED_FINAL.value: "failed",
    State.CANCELLED.value: "cancelled",
}

Totals = Counter[str]


@dataclass(frozen=True)
class Figures:
    """Counters since the beginning, and the present state. Amounts in minor units.

    `totals` has the keys "event:…", "outcome:…", "count:<kind>", "amount:<kind>",
    "late:<bucket>" and "late_ms".
    """

    totals: Totals
    in_flight: int
    in_flight_amount: int
    unknown: int
    oldest_unknown_seconds: float
    needs_review: int
    due: int
    oldest_due_seconds: float
    retries_due: int
    sweep_ages: dict[str, float | None]
    alarms: dict[str, int]
    payouts_paused: int = 0
    bank_lost_share: float = 0.0
    oldest_retry_due_seconds: float = 0.0
    clock_offset_seconds: float = 0.0
    gauges: Sequence[Gauge] = ()  # of removable applications


def figures() -> Figures:
    """Count the new rows and read the present state."""
    now = database_now()
    processing = Transaction.objects.filter(Transaction.is_under_way()).order_by()
    flying = processing.aggregate(count=Count("pk"), amount=Sum("amount"))
    due = Transaction.get_due_pending_withdrawals(now)
    health = payout_health.look(now)
    open_alarms = alarm.unacknowledged().order_by().values_list("kind")
    return Figures(
        totals=_counted(Transition, _count_transitions, now)
        + _counted(Movement, _count_movements, now),
        in_flight=flying["count"],
        in_flight_amount=int(flying["amount"] or 0),
        unknown=processing.filter(unknown_since__isnull=False).count(),
        oldest_unknown_seconds=_age(
            readable.earliest(processing, "unknown_since"), now
        ),
        needs_review=review.waiting().count(),
        due=_count(due),
        oldest_due_seconds=health.oldest_due_seconds,
        retries_due=_count(Transaction.get_failed_retryable_withdrawals(now=now)),
        sweep_ages={
            sweep.name: _age(sweep.ran_at, now) if sweep.ran_at else None
            for sweep in readiness.sweeps(now)
        },
        alarms=dict(open_alarms.annotate(count=Count("pk"))),
        payouts_paused=int(health.standing.paused),
        bank_lost_share=health.lost_share,
        oldest_retry_due_seconds=health.oldest_retry_due_seconds,
        clock_offset_seconds=host_clock.offset(),
        gauges=[
            gauge for check in health_checks().values() for gauge in check(now).gauges
        ],
    )


def _count(due: QuerySet[Transaction]) -> int:
    """Count what is due, without what an alarm says to be paid."""
    return alarm.without_said_paid(due).order_by()[:COUNT_LIMIT].count()


def _age(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def _counted(
    model: type[Transition] | type[Movement],
    count: Callable[[QuerySet[Any]], Totals],
    now: datetime,
) -> Totals:
    """Return the totals of a table: the stored ones and the new rows."""
    name = model._meta.model_name or ""
    tally = Tally.objects.filter(name=name).first() or Tally(name=name)
    rows = model._default_manager.order_by("pk")
    settled = _settled_until(rows, tally.upto, now)
    totals: Totals = Counter(tally.totals)
    if settled > tally.upto:
        totals += count(rows.filter(pk__gt=tally.upto, pk__lte=settled))
        _keep(tally, settled, totals)
    if settled >= tally.upto + BATCH:
        return totals  # the rest is counted by the next request
    return totals + count(rows.filter(pk__gt=settled, pk__lte=settled + BATCH))


def _settled_until(rows: QuerySet[Any], upto: int, now: datetime) -> int:
    """Return the id up to which all rows are committed, at most one batch further."""
    batch = rows.filter(pk__gt=upto, pk__lte=upto + BATCH).values_list("pk", flat=True)
    unsettled = batch.filter(created_at__gt=now - SETTLED).first()
    if unsettled is not None:
        return int(unsettled) - 1
    last = batch.last()
    if last is None and rows.filter(pk__gt=upto).exists():
        return upto + BATCH  # ids that were never used
    return upto if last is None else int(last)


def _keep(tally: Tally, upto: int, totals: Totals) -> None:
    """Store the totals, unless another process has stored newer ones.

    The figures are right without it: a database that only reads has them, too.
    """

    def store() -> None:
        Tally.objects.get_or_create(name=tally.name)
        same = Tally.objects.filter(name=tally.name, upto=tally.upto)
        same.update(upto=upto, totals=dict(totals))

    try:
        run_in_transaction(store)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("totals not stored: %s", type(error).__name__)


def _count_transitions(rows: QuerySet[Transition]) -> Totals:
    totals: Totals = Counter()
    groups = rows.order_by().values_list("event", "to_state")
    for event, state, count in groups.annotate(count=Count("pk")):
        totals[f"event:{event}"] += count
        if state in OUTCOMES:
            totals[f"outcome:{OUTCOMES[state]}"] += count
    paid = rows.filter(to_state=State.COMPLETED.value)
    # Recorded payments say nothing about lateness.
    paid = paid.exclude(event=Event.RECORD_PAID.value)
    times = paid.values_list("transaction__scheduled_for", "transaction__executed_at")
    for due, done in readable.values(times, 2000):
        if due is None or done is None:
            continue  # damaged: constraints require both
        seconds = (done - due).total_seconds()
        bucket = LATENESS_BUCKETS[bisect_left(LATENESS_BUCKETS, seconds)]
        totals[f"late:{bucket}"] += 1
        totals["late_ms"] += max(0, round(seconds * 1000))
    return totals


def _count_movements(rows: QuerySet[Movement]) -> Totals:
    totals: Totals = Counter()
    groups = rows.order_by().values_list("kind")
    for kind, count, amount in groups.annotate(count=Count("pk"), total=Sum("amount")):
        totals[f"count:{kind}"] += count
        totals[f"amount:{kind}"] += int(amount)
    return totals

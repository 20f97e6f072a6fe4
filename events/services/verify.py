"""Verifies the feed against the ledger: reads everything, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.db.models import Max, Min

from events.models.event import Event, Source
from events.models.progress import Cursor, Gap
from events.services import runs
from events.services.content import records
from events.services.sources import LEG_OF_CHANGE, READINGS, Reading
from wallets.models.wallet import Wallet
from wallets.services.ledger.ledger_audit import Finding
from wallets.utils.damaged import DAMAGED

# Wallets of one query. Each query is one index range, so memory is bounded.
WALLETS_AT_ONCE = 500

# Positions are 1, 2, 3 …: what comes before one is the number before it.
_HOLES = """
SELECT position FROM events_event e
WHERE position > 1 AND NOT EXISTS (
    SELECT 1 FROM events_event b WHERE b.position = e.position - 1)
ORDER BY position
"""
# Rows that should have an event and have none.
_MISSING = """
SELECT r.id FROM {table} r
WHERE {is_event} AND r.id <= %s AND NOT EXISTS (
    SELECT 1 FROM events_event e WHERE e.source = {source} AND e.source_id = r.id)
ORDER BY r.id
"""
# Those of them whose ids are in a gap.
_LATE = """
SELECT COUNT(*) FROM {table} r
WHERE {is_event} AND {ids} AND NOT EXISTS (
    SELECT 1 FROM events_event e WHERE e.source = {source} AND e.source_id = r.id)
"""
# Events that are not what their row says; a row that does not exist says nothing.
_WRONG = """
SELECT e.position FROM events_event e
LEFT JOIN ({rows}) r ON r.id = e.source_id
WHERE e.source = {source} AND e.source_id BETWEEN %s AND %s AND (r.id IS NULL
    OR r.type IS NULL OR e.wallet_id <> r.wallet_id OR e.type <> r.type OR e.created_at <> r.created_at)
"""
# The positions of each wallet's movements, by the statement. A withdrawal's movement
# has the place of the change that posted it; the hold of `record_paid` has none.
_STATEMENTS = """
SELECT id, wallet_id, sequence, place, MAX(place) OVER (
    PARTITION BY wallet_id ORDER BY sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_
FROM (
    SELECT m.id, m.wallet_id, m.sequence, e.position AS place
    FROM wallets_movement m
    LEFT JOIN wallets_transition r ON m.attempt_number > 0
        AND r.transaction_id = m.transaction_id
        AND r.attempt_number = m.attempt_number AND {leg} = m.leg
    JOIN events_event e ON e.source = CASE WHEN r.id IS NULL
            THEN {movement} ELSE {transition} END
        AND e.source_id = COALESCE(r.id, m.id)
    WHERE m.wallet_id BETWEEN %s AND %s
) placed
"""
_HISTORIES = """
SELECT r.id, w.wallet_id, r.transaction_id, e.position AS place, MAX(e.position) OVER (
    PARTITION BY r.transaction_id ORDER BY r.sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_
FROM wallets_transaction w
JOIN wallets_transition r ON r.transaction_id = w.id
JOIN events_event e ON e.source = {transition} AND e.source_id = r.id
WHERE w.wallet_id BETWEEN %s AND %s
"""
_WALLET_CHANGES = """
SELECT r.id, r.wallet_id, r.sequence, e.position AS place, MAX(e.position) OVER (
    PARTITION BY r.wallet_id ORDER BY r.sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_
FROM wallets_walletchange r
JOIN events_event e ON e.source = {wallet_change} AND e.source_id = r.id
WHERE r.wallet_id BETWEEN %s AND %s
"""
_DISORDER = "SELECT * FROM ({chain}) chain WHERE place < before_"
_BEGINNINGS = """
SELECT c.source_id, c.position, MIN(e.position)
FROM events_event c JOIN events_event e ON e.wallet_id = c.source_id
WHERE c.source = {wallet} AND c.source_id BETWEEN %s AND %s
GROUP BY c.source_id, c.position HAVING MIN(e.position) < c.position
"""
# The counters of the ledger's own rows: each number has its row.
_STATEMENT_COUNTS = """
SELECT w.id, w.movement_count, COUNT(m.id)
FROM wallets_wallet w LEFT JOIN wallets_movement m ON m.wallet_id = w.id
WHERE w.id BETWEEN %s AND %s
GROUP BY w.id, w.movement_count HAVING COUNT(m.id) <> w.movement_count
"""
_CHANGE_COUNTS = """
SELECT w.id, w.change_count, COUNT(r.id)
FROM wallets_wallet w LEFT JOIN wallets_walletchange r ON r.wallet_id = w.id
WHERE w.id BETWEEN %s AND %s
GROUP BY w.id, w.change_count HAVING COUNT(r.id) <> w.change_count
"""
_HISTORY_COUNTS = """
SELECT w.id, w.version + 1, COUNT(r.id)
FROM wallets_transaction w LEFT JOIN wallets_transition r ON r.transaction_id = w.id
WHERE w.wallet_id BETWEEN %s AND %s AND w.transaction_type = 'WITHDRAWAL'
GROUP BY w.id, w.version HAVING COUNT(r.id) <> w.version + 1
"""
_ROWS_AT_ONCE = 50_000
_EVENTS_AT_ONCE = 1000


def verify() -> Iterator[Finding]:
    """Yield all that is wrong with the feed; nothing if it is right.

    Call inside `utils.database.transactions.read_snapshot`, because the feed grows while
    it reads. What the sequencer has not reached yet is not wrong.
    """
    for (position,) in _rows(_HOLES, []):
        yield Finding("position", f"event {position}", "the one before it is missing")
    for reading in READINGS:
        yield from _missing(reading)
        yield from _wrong(reading)
    yield from _unreadable()
    for first, last in _ranges_of_wallets():
        yield from _out_of_order(first, last)


def waiting() -> int:
    """Return the number of rows that the sequencer has not reached yet, or not found."""
    cursors = dict(Cursor.objects.values_list("source", "row_id"))
    found = 0
    for reading in READINGS:
        sql = "SELECT COUNT(*) FROM {table} r WHERE {is_event} AND r.id > %s"
        named = sql.format(table=reading.table, is_event=reading.is_event)
        ((count,),) = _rows(named, [cursors.get(reading.source, 0)])
        found += count + _late(reading)
    return found


def _late(reading: Reading) -> int:
    """Return the number of rows that were committed after the cursor had passed them."""
    found = 0
    gaps = Gap.objects.filter(source=reading.source)
    for missing in gaps.values_list("missing", flat=True):
        ids, bounds = runs.condition("r.id", runs.read(missing))
        sql = _LATE.format(
            table=reading.table,
            is_event=reading.is_event,
            source=reading.source.value,
            ids=ids,
        )
        ((count,),) = _rows(sql, bounds)
        found += count
    return found


def _missing(reading: Reading) -> Iterator[Finding]:
    """Yield the rows that the cursor has passed without giving a place."""
    cursor = Cursor.objects.filter(source=reading.source).first()
    sql = _MISSING.format(
        table=reading.table, is_event=reading.is_event, source=reading.source.value
    )
    for (pk,) in _rows(sql, [cursor.row_id if cursor else 0]):
        gap = Gap.objects.filter(source=reading.source, first__lte=pk, last__gte=pk)
        if not any(runs.contains(runs.read(one.missing), pk) for one in gap):
            yield Finding("missing", f"{reading.table} {pk}", "it has no event")


def _wrong(reading: Reading) -> Iterator[Finding]:
    """Yield the events that are not what the row of the ledger says."""
    events = Event.objects.filter(source=reading.source)
    bounds = events.aggregate(low=Min("source_id"), high=Max("source_id"))
    sql = _WRONG.format(
        rows=reading.events.format(ids="r.id BETWEEN %s AND %s"),
        source=reading.source.value,
    )
    for low in range(bounds["low"] or 1, (bounds["high"] or 0) + 1, _ROWS_AT_ONCE):
        high = low + _ROWS_AT_ONCE - 1
        for (position,) in _rows(sql, [low, high, low, high]):
            detail = f"it is not what {reading.table} says"
            yield Finding("content", f"event {position}", detail)


def _unreadable() -> Iterator[Finding]:
    """Yield the events that the feed cannot tell; it stands still at each of them."""
    last = 0
    while True:
        rows = Event.objects.filter(position__gt=last).order_by("position")
        some = list(rows[:_EVENTS_AT_ONCE])
        if not some:
            return
        last = some[-1].position
        if _error_of(some) is None:
            continue
        for each in some:
            error = _error_of([each])
            if error is not None:
                detail = f"it cannot be read: {type(error).__name__}"
                yield Finding("content", f"event {each.position}", detail)


def _error_of(events: list[Event]) -> Exception | None:
    """Return the error with which the feed ends at these events, if any."""
    try:
        records(events)
    except DAMAGED as error:
        return error
    return None


def _ranges_of_wallets() -> Iterator[tuple[int, int]]:
    """Yield the first and the last id of some hundred wallets."""
    last = 0
    while True:
        rows = Wallet.objects.filter(pk__gt=last).order_by("pk")
        ids = list(rows.values_list("pk", flat=True)[:WALLETS_AT_ONCE])
        if not ids:
            return
        last = ids[-1]
        yield ids[0], last


def _out_of_order(first: int, last: int) -> Iterator[Finding]:
    """Yield what is out of order, and counters that do not agree, of these wallets."""
    numbers = {source.name.lower(): source.value for source in Source}
    between = [first, last]
    for name, chain in (
        ("statement", _STATEMENTS),
        ("history", _HISTORIES),
        ("change", _WALLET_CHANGES),
    ):
        sql = _DISORDER.format(chain=chain.format(leg=LEG_OF_CHANGE, **numbers))
        for _, wallet, _, place, before in _rows(sql, between):
            detail = f"wallet {wallet}: what comes before it has the position {before}"
            yield Finding(f"{name}_order", f"event {place}", detail)
    for wallet, place, before in _rows(_BEGINNINGS.format(**numbers), between):
        detail = f"event {before} of wallet {wallet} is before its creation"
        yield Finding("creation_order", f"event {place}", detail)
    for name, row, sql in (
        ("movement_count", "wallet", _STATEMENT_COUNTS),
        ("change_count", "wallet", _CHANGE_COUNTS),
        ("version", "transaction", _HISTORY_COUNTS),
    ):
        for pk, expected, count in _rows(sql, between):
            detail = f"it says {expected} changes, the ledger has {count}"
            yield Finding(name, f"{row} {pk}", detail)


def _rows(sql: str, values: list[int]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())

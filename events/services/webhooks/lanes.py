"""Reading the lanes of an endpoint: the first open delivery of each, and what follows it.

A lane whose first delivery fails may have any number behind it, for days. So each
statement finds its rows through an index, and reads few beside those that it returns.
Django has no words for that: its GROUP BY reads all open deliveries of the endpoint, on
each engine. Call inside the transaction that claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint

# The open deliveries of one endpoint. Compared as in `models.delivery.OPEN`.
_OPEN = "endpoint_id = %s AND open IN (true)"
# Every write of `due_at` writes `updated_at`. If that lies ahead, the clock has been set
# back since, and the time that was planned then is worth nothing: sending early or twice
# does no harm. As `is_due`.
_IS_DUE = "(due_at <= %s OR updated_at > %s)"
# Each lane is found from the one before it, by the index delivery_lane.
_FIRSTS = f"""
WITH RECURSIVE lanes (lane) AS (
    SELECT MIN(lane) FROM events_delivery WHERE {_OPEN}
    UNION ALL
    SELECT (
        SELECT one.lane FROM events_delivery one
        WHERE {_OPEN} AND one.lane > lanes.lane ORDER BY one.lane LIMIT 1
    ) FROM lanes WHERE lanes.lane IS NOT NULL
), firsts (sequence) AS (
    SELECT (
        SELECT CASE WHEN {_IS_DUE} THEN one.sequence END FROM events_delivery one
        WHERE {_OPEN} AND one.lane = lanes.lane ORDER BY one.sequence LIMIT 1
    ) FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT sequence FROM firsts WHERE sequence IS NOT NULL ORDER BY sequence LIMIT %s
"""  # noqa: S608 (constants of ours)
# MySQL and MariaDB skip from lane to lane only for a GROUP BY that names the beginning of
# the index.
_FIRSTS_MYSQL = f"""
SELECT one.sequence FROM (
    SELECT MIN(sequence) AS first FROM events_delivery FORCE INDEX (delivery_lane)
    WHERE {_OPEN} GROUP BY endpoint_id, open, lane
) AS firsts STRAIGHT_JOIN events_delivery one
ON one.endpoint_id = %s AND one.sequence = firsts.first AND {_IS_DUE}
ORDER BY one.sequence LIMIT %s
"""  # noqa: S608
_BEHIND = f"""
SELECT * FROM (
    SELECT * FROM events_delivery
    WHERE {_OPEN} AND lane = %s AND sequence > %s ORDER BY lane, sequence LIMIT %s
) AS lane_{{}}
"""  # noqa: S608
_WITH_DUE = f"""
SELECT * FROM (
    SELECT endpoint_id FROM events_delivery
    WHERE {_OPEN} AND {_IS_DUE} ORDER BY due_at LIMIT 1
) AS endpoint_{{}}
"""  # noqa: S608


def firsts_due(
    endpoint: Endpoint, now: datetime, most: int, *, since: datetime | None = None
) -> list[Delivery]:
    """Return the first open deliveries of lanes that are due, the earliest `most`.

    With `since` only those that have been due since then, or at an unknown time.
    """
    pk, at = endpoint.pk, since or now
    values: list[Any]
    if connection.vendor == "mysql":
        sql, values = _FIRSTS_MYSQL, [pk, pk, at, now, most]
    else:
        sql, values = _FIRSTS, [pk, pk, at, now, pk, most]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found = [sequence for (sequence,) in cursor.fetchall()]
    rows = Delivery.objects.filter(endpoint=endpoint, sequence__in=found)
    return sorted(rows.order_by(), key=lambda row: row.sequence)


def is_due(row: Delivery, now: datetime) -> bool:
    """Return the same as `_IS_DUE`."""
    return row.due_at <= now or row.updated_at > now


def behind(firsts: Sequence[Delivery], most: int) -> list[Delivery]:
    """Return up to `most` open deliveries behind these first ones, in order."""
    if not firsts:
        return []
    each = max(1, most // len(firsts))
    sql = " UNION ALL ".join(_BEHIND.format(at) for at in range(len(firsts)))
    values = [
        value
        for one in firsts
        for value in (one.endpoint_id, one.lane, one.sequence, each)
    ]
    rows = Delivery.objects.raw(sql, values)
    return sorted(rows, key=lambda row: row.sequence)


def with_due(
    endpoints: Sequence[int], now: datetime, *, since: datetime | None = None
) -> list[int]:
    """Return those of these endpoints that have an open delivery that is due.

    It need not be the first one of its lane. `since` as of `firsts_due`.
    """
    if not endpoints:
        return []
    sql = " UNION ALL ".join(_WITH_DUE.format(at) for at in range(len(endpoints)))
    values = [value for one in endpoints for value in (one, since or now, now)]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [one for (one,) in cursor.fetchall()]

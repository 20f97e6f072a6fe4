"""What the ledger has that may need a place. Reads only.

Everything is read by one statement, so of one moment: a cause is never missing where its
effect was found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache

from django.db import connection

from events.errors import UnknownRow
from events.models.event import Source
from events.services import runs
from events.services.runs import Run
from events.services.sources import EVENT, NONE, READINGS, UNKNOWN, Reading

# The rows above the cursor, as runs of ids of one meaning: a thousand deposits are one
# line of the answer, so that no row of theirs costs this process anything.
_NEW = """
SELECT {source} AS source, 0 AS late, meaning, MIN(id), MAX(id)
FROM (
    SELECT id, meaning,
        id - ROW_NUMBER() OVER (PARTITION BY meaning ORDER BY id) AS island
    FROM (
        SELECT r.id, {meaning} AS meaning FROM {table} r
        WHERE r.id > %s ORDER BY r.id LIMIT %s
    ) new_{source}
) islands_{source}
GROUP BY meaning, island
"""
# The rows in gaps: they have been committed after the cursor had passed them.
_LATE = """
SELECT {source} AS source, 1 AS late, meaning, id, id
FROM (
    SELECT r.id, {meaning} AS meaning FROM {table} r
    WHERE {ids} ORDER BY r.id LIMIT %s
) late_{source}
"""
_HAS_PLACE = """EXISTS (SELECT 1 FROM events_event e
    WHERE e.source = {source} AND e.source_id = r.id)"""
_MEANING = """CASE WHEN NOT ({is_known}) THEN {UNKNOWN}
    WHEN NOT ({is_event}) OR {has_place} THEN {NONE} ELSE {EVENT} END"""


@dataclass
class Seen:
    """What one source has: runs of ids by meaning, above the cursor and in gaps."""

    reading: Reading
    cursor: int
    new: dict[int, list[Run]] = field(default_factory=dict)
    late: dict[int, list[Run]] = field(default_factory=dict)
    # There may be more: the limit was reached.
    is_full: bool = False

    @property
    def present(self) -> list[Run]:
        """The ids above the cursor."""
        return runs.merged(run for some in self.new.values() for run in some)

    @property
    def events(self) -> list[Run]:
        """The ids that need a place."""
        return runs.merged(self.new.get(EVENT, []) + self.late.get(EVENT, []))

    @property
    def known(self) -> list[Run]:
        """The ids of all rows, with and without an event of their own."""
        late = self.late.get(EVENT, []) + self.late.get(NONE, [])
        return runs.merged(self.present + late)

    @property
    def top(self) -> int:
        """The highest id, or the cursor."""
        return max([self.cursor, *(last for _, last in self.present)])


def look(
    cursors: Mapping[int, int],
    gaps: Mapping[int, list[Run]],
    *,
    limit: int,
    ahead: Collection[int] = (),
) -> dict[int, Seen]:
    """Return what each source has above its cursor and in the gaps, at most `limit` each.

    Rows above the cursor of the sources `ahead` may have their place already, so it is
    looked up; a change of a withdrawal always may.

    :raises UnknownRow: a row is of a later release.
    """
    parts: list[str] = []
    values: list[int] = []
    for reading in READINGS:
        source = reading.source
        check = source in ahead or source == Source.TRANSITION
        parts.append(_new(reading, check))
        values += [cursors[source], limit]
        if gaps.get(source):
            ids, bounds = runs.condition("r.id", gaps[source])
            parts.append(_part(_LATE, reading, check=True, ids=ids))
            values += [*bounds, limit]
    sql = " UNION ALL ".join(parts)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    found: dict[int, Seen] = {
        one.source: Seen(one, cursors[one.source]) for one in READINGS
    }
    for source, late, meaning, first, last in rows:
        seen = found[source]
        if meaning == UNKNOWN:
            raise UnknownRow(seen.reading.table, first)
        by_meaning = seen.late if late else seen.new
        by_meaning.setdefault(meaning, []).append((first, last))
    for seen in found.values():
        some = seen.new, seen.late
        seen.is_full = any(
            sum(map(runs.count, each.values())) >= limit for each in some
        )
    return found


@cache
def _new(reading: Reading, check: bool) -> str:
    return _part(_NEW, reading, check=check)


def _part(template: str, reading: Reading, *, check: bool, ids: str = "") -> str:
    number = reading.source.value
    has_place = _HAS_PLACE.format(source=number) if check else "1 = 0"
    meaning = _MEANING.format(
        is_known=reading.is_known,
        is_event=reading.is_event,
        has_place=has_place,
        EVENT=EVENT,
        NONE=NONE,
        UNKNOWN=UNKNOWN,
    )
    return template.format(source=number, meaning=meaning, table=reading.table, ids=ids)

"""Gives each committed row of the ledger its place in the feed, once.

See Note [Late rows] in `services.gaps` and `services.closure` for the order. Three
things are kept apart, and none relies on a clock:

- *each row once*: a unique constraint on the row;
- *each row*: the cursor of its source has not passed it, or its id is in a gap;
- *in order*: a place is given only together with, or after, all that comes before.

Any number of sequencers may run, and none for a week.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.db import connection

from events.models.event import Source
from events.models.progress import Cursor
from events.services import gaps, runs
from events.services.closure import Closure
from events.services.look import Seen, look
from events.services.runs import Run
from events.services.sources import READINGS
from wallets.utils.database.transactions import lock_rows, run_in_transaction

# The most rows of each source in one pass.
LIMIT = 2000

# `rank_` and the rest are the order inside a pass; what they leave open is decided by
# the source and the id, so that it is decided.
_GIVE = """
INSERT INTO events_event (position, source, source_id, wallet_id, type, created_at)
SELECT %s + ROW_NUMBER() OVER (
        ORDER BY rank_, moment, wallet_id, movement, step, source, id),
    source, id, wallet_id, type, created_at
FROM ({parts}) placed
"""
_ROWS = """
SELECT {source} AS source, id, wallet_id, type, created_at, rank_, moment, movement, step
FROM ({rows}) of_{source}
"""
_HIGHEST = "(SELECT MAX(source_id) FROM events_event WHERE source = {source})"


class Pass(NamedTuple):
    """What a pass has done: the number of events, and whether there may be more."""

    events: int
    more: bool


def run_pass(*, limit: int = LIMIT) -> Pass:
    """Give the next rows their places, at most `limit` of each source.

    Opens its own transaction.

    :raises UnknownRow: a row is of a later release; no place was given.
    """
    return run_in_transaction(lambda: _pass(limit))


def catch_up(*, limit: int = LIMIT) -> int:
    """Run passes until everything that was committed has its place; return the number.

    :raises UnknownRow: a row is of a later release.
    """
    events, more = 0, True
    while more:
        done, more = run_pass(limit=limit)
        events += done
    return events


def finds_work() -> bool:
    """Whether a pass would find something. Locks nothing and opens no transaction.

    :raises UnknownRow: a row is of a later release.
    """
    known = dict(Cursor.objects.values_list("source", "row_id"))
    if len(known) < len(READINGS):
        return True
    waiting = gaps.Open()
    if not waiting.all and waiting.rows:
        return True
    found = look(known, waiting.by_source(), limit=1)
    return any(seen.new or seen.late for seen in found.values())


def _pass(limit: int) -> Pass:
    cursors = _locked_cursors()
    # After this point no other sequencer gives places until this transaction ends.
    end, highest = _ends()
    waiting = gaps.Open()
    seen = look(
        cursors,
        waiting.by_source(),
        limit=limit,
        ahead={source for source in cursors if highest[source] > cursors[source]},
    )
    is_part = not waiting.all or any(one.is_full for one in seen.values())
    events = {source: one.events for source, one in seen.items()}
    tops = {source: one.top for source, one in seen.items()}
    if is_part:
        closure = Closure(seen)
        closure.complete()
        events, tops = closure.events, tops | {Source.TRANSITION: closure.top}
    given = _give_places(end, events)
    _advance(seen, tops)
    waiting.close(_found_late(seen, events))
    return Pass(given, more=any(one.is_full for one in seen.values()))


def _locked_cursors() -> dict[int, int]:
    """Lock the cursors and return them; make those that are missing.

    Another transaction may make them first: the pass is then run again.
    """
    rows = lock_rows(Cursor.objects.order_by("source"))
    found = {row.source: row.row_id for row in rows}
    new = [one.source for one in READINGS if one.source not in found]
    Cursor.objects.bulk_create(Cursor(source=source) for source in new)
    return {one.source: found.get(one.source, 0) for one in READINGS}


def _ends() -> tuple[int, dict[int, int]]:
    """Return the last position, and the highest id with a place of each source."""
    columns = [
        "(SELECT MAX(position) FROM events_event)",
        *(_HIGHEST.format(source=one.source.value) for one in READINGS),
    ]
    sql = f"SELECT {', '.join(columns)}"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        end, *ids = cursor.fetchone()
    by_source = zip(READINGS, ids, strict=True)
    return end or 0, {one.source: found or 0 for one, found in by_source}


def _give_places(end: int, events: Mapping[int, list[Run]]) -> int:
    """Insert the events after the position `end`, in order; return their number."""
    parts: list[str] = []
    values: list[int] = [end]
    for reading in READINGS:
        if events[reading.source]:
            ids, bounds = runs.condition("r.id", events[reading.source])
            rows = reading.events.format(ids=ids)
            parts.append(_ROWS.format(source=reading.source.value, rows=rows))
            values += bounds
    if not parts:
        return 0
    sql = _GIVE.format(parts=" UNION ALL ".join(parts))
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


def _advance(seen: Mapping[int, Seen], tops: Mapping[int, int]) -> None:
    """Move the cursors, and keep the ids that were passed without a row."""
    for source, one in seen.items():
        top = tops[source]
        if top > one.cursor:
            passed = runs.below(one.present, top + 1)
            gaps.keep(source, runs.without([(one.cursor + 1, top)], passed))
            Cursor.objects.filter(source=source).update(row_id=top)


def _found_late(
    seen: Mapping[int, Seen], events: Mapping[int, list[Run]]
) -> dict[int, list[Run]]:
    """Return the ids that need not be looked for any more."""
    found = {}
    for source, one in seen.items():
        late = runs.merged(run for some in one.late.values() for run in some)
        waiting = runs.without(one.events, events[source])
        found[source] = runs.without(late, waiting)
    return found

"""What must have its place before the rows of a pass, where a pass is only a part.

A pass that has seen everything needs nothing of this: it has read one moment of the
database, and whatever comes before one of its rows was committed before. A part of a
backlog, or a pass that has not looked at every gap, is completed here: for each row
also what precedes it, however it was missed.

- before a movement: the wallet's movement before it, and the change of a withdrawal
  that it belongs to;
- before a change of a withdrawal: its earlier changes, and its movement;
- before a change of a wallet: its earlier changes;
- before the first of each: the creation of the wallet.

Queries may see later rows than `look` has seen. That is harmless: what comes before a
row is committed before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection

from events.errors import UnknownRow
from events.models.event import Source
from events.services import kinds, runs
from events.services.look import Seen
from events.services.runs import Run
from events.services.sources import LEG_OF_CHANGE, READING_OF, words

_PLACE = """EXISTS (SELECT 1 FROM events_event e
    WHERE e.source = {source} AND e.source_id = {column})"""

# The withdrawals of some changes, and of some movements.
_OWNERS = """
SELECT r.transaction_id FROM wallets_transition r WHERE {changes}
UNION
SELECT r.transaction_id FROM wallets_movement r WHERE {movements} AND r.kind IN ({others})
"""

# All changes without a place of these withdrawals, in order, with their movements.
_CHANGES = """
SELECT r.transaction_id, r.id, m.id, {is_known}
FROM wallets_transition r
LEFT JOIN wallets_movement m ON m.transaction_id = r.transaction_id
    AND m.attempt_number = r.attempt_number AND m.leg = {leg}
WHERE r.transaction_id IN ({owners}) AND NOT {has_place}
ORDER BY r.transaction_id, r.sequence
"""

# The movements directly before some movements in the statements, if the pass may have
# missed them: above the highest id that it has seen, or in the range of a gap.
_BEFORE = """
SELECT r.id, r.kind, {is_known}, {has_place}, (
    SELECT g.missing FROM events_gap g
    WHERE g.source = {source} AND g.first <= r.id AND g.last >= r.id
    ORDER BY g.first DESC LIMIT 1)
FROM wallets_movement n
JOIN wallets_movement r ON r.wallet_id = n.wallet_id AND r.sequence = n.sequence - 1
WHERE {movements} AND (r.id > %s OR EXISTS (
    SELECT 1 FROM events_gap g
    WHERE g.source = {source} AND g.first <= r.id AND g.last >= r.id))
"""

# The earlier changes without a place of the wallets of some changes.
_WALLET_CHANGES = """
SELECT DISTINCT r.id, {is_known}
FROM wallets_walletchange n
JOIN wallets_walletchange r ON r.wallet_id = n.wallet_id AND r.sequence < n.sequence
WHERE {changes} AND NOT {has_place}
"""

# The wallets without a place of first movements and of scheduled withdrawals.
_WALLETS = """
SELECT r.wallet_id FROM wallets_movement r
WHERE {movements} AND r.sequence = 1 AND NOT {has_place_r}
UNION
SELECT w.wallet_id FROM wallets_transition r
JOIN wallets_transaction w ON w.id = r.transaction_id
WHERE {changes} AND r.sequence = 0 AND NOT {has_place_w}
UNION
SELECT r.wallet_id FROM wallets_walletchange r
WHERE {wallet_changes} AND r.sequence = 1 AND NOT {has_place_r}
"""


class Change(NamedTuple):
    """A change of a withdrawal that has no place yet, and its movement if it has one."""

    owner: int
    id: int
    movement: int | None


class Closure:
    """Completes the rows of one pass. Call inside its transaction.

    `events` are the runs of ids that get a place, by source.
    """

    def __init__(self, seen: dict[int, Seen]) -> None:
        self.events = {source: one.events for source, one in seen.items()}
        # How far the pass goes in the changes of withdrawals.
        self.top = seen[Source.TRANSITION].top
        self._seen = seen
        self._changes = _ids(self.events[Source.TRANSITION])
        self._moved = seen[Source.MOVEMENT].known

    def complete(self) -> None:
        """Add what comes before the rows, and leave out what cannot be completed yet.

        :raises UnknownRow: a row is of a later release.
        """
        if self._seen[Source.MOVEMENT].is_full:
            self._leave_out_of_reach()
        fresh = [*self._moved, *self._changes_up_to_here()]
        while fresh:
            before = runs.merged(self._movements_before(fresh))
            self._moved = runs.merged([*self._moved, *before])
            fresh = [*before, *self._changes_up_to_here()]
        self.events[Source.TRANSITION] = runs.runs_of(self._changes)
        self._add_wallet_changes()
        self._add_wallets()

    def _leave_out_of_reach(self) -> None:
        """Leave out changes whose movement, or an earlier one's, comes in a later pass.

        The movements of a backlog are read in order, and each brings its changes. What
        is left out is above the cursor, or stays in its gap.
        """
        reach = self._seen[Source.MOVEMENT].top
        out: set[int] = set()
        for changes in self._open_changes():
            beyond = False
            for change in changes:
                beyond = beyond or (change.movement or 0) > reach
                if beyond:
                    out.add(change.id)
        out &= self._changes
        seen = self._seen[Source.TRANSITION]
        new = [one for one in out if one > seen.cursor]
        if new:
            end = min(new)
            kept = runs.below(seen.present, end)
            self.top = max([seen.cursor, *(last for _, last in kept)])
            self._changes = {
                one for one in self._changes if one < end or one <= seen.cursor
            }
        self._changes -= out

    def _changes_up_to_here(self) -> list[Run]:
        """Add the changes up to those of the pass; return the movements that they need."""
        needed = set()
        for changes in self._open_changes():
            wanted = [
                place
                for place, change in enumerate(changes)
                if change.id in self._changes
                or (change.movement and runs.contains(self._moved, change.movement))
            ]
            for change in changes[: wanted[-1] + 1 if wanted else 0]:
                self._changes.add(change.id)
                if change.movement and not runs.contains(self._moved, change.movement):
                    needed.add(change.movement)
        found = runs.runs_of(needed)
        self._moved = runs.merged([*self._moved, *found])
        return found

    def _open_changes(self) -> Iterator[list[Change]]:
        """Yield the changes without a place of each withdrawal of the pass, in order.

        :raises UnknownRow: one is of a later release.
        """
        changes, ids = runs.condition("r.id", runs.runs_of(self._changes))
        movements, more = runs.condition("r.id", self._moved)
        owners = _rows(
            _OWNERS.format(
                changes=changes, movements=movements, others=words(kinds.OF_OTHERS)
            ),
            [*ids, *more],
        )
        if not owners:
            return
        reading = READING_OF[Source.TRANSITION]
        sql = _CHANGES.format(
            is_known=_truth(reading.is_known),
            leg=LEG_OF_CHANGE,
            owners=", ".join(["%s"] * len(owners)),
            has_place=_PLACE.format(source=Source.TRANSITION.value, column="r.id"),
        )
        rows = _rows(sql, [owner for (owner,) in owners])
        for _, group in groupby(rows, itemgetter(0)):
            found = []
            for *columns, is_known in group:
                if not is_known:
                    raise UnknownRow(reading.table, columns[1])
                found.append(Change(*columns))
            yield found

    def _movements_before(self, movements: list[Run]) -> Iterator[Run]:
        """Yield the missed movements before these; add the events that they are.

        :raises UnknownRow: one is of a later release.
        """
        reading = READING_OF[Source.MOVEMENT]
        top = self._seen[Source.MOVEMENT].top
        ids, bounds = runs.condition("n.id", movements)
        source = Source.MOVEMENT.value
        sql = _BEFORE.format(
            movements=ids,
            source=source,
            is_known=_truth(reading.is_known),
            has_place=_truth(_PLACE.format(source=source, column="r.id")),
        )
        for pk, kind, is_known, has_place, missing in _rows(sql, [*bounds, top]):
            missed = pk > top or runs.contains(runs.read(missing), pk)
            if not missed or has_place or runs.contains(self._moved, pk):
                continue
            if not is_known:
                raise UnknownRow(reading.table, pk)
            yield (pk, pk)
            if kind in kinds.OF_MOVEMENTS:
                added = [*self.events[Source.MOVEMENT], (pk, pk)]
                self.events[Source.MOVEMENT] = runs.merged(added)

    def _add_wallet_changes(self) -> None:
        """Add the earlier changes of the wallets whose changes this pass has.

        :raises UnknownRow: one is of a later release.
        """
        reading = READING_OF[Source.WALLET_CHANGE]
        some = self.events[Source.WALLET_CHANGE]
        changes, ids = runs.condition("n.id", some)
        sql = _WALLET_CHANGES.format(
            is_known=_truth(reading.is_known),
            changes=changes,
            has_place=_PLACE.format(source=reading.source.value, column="r.id"),
        )
        found = _rows(sql, ids) if some else []
        for pk, is_known in found:
            if not is_known:
                raise UnknownRow(reading.table, pk)
        earlier = runs.runs_of(pk for pk, _ in found)
        self.events[Source.WALLET_CHANGE] = runs.merged([*some, *earlier])

    def _add_wallets(self) -> None:
        """Add the wallets of which this pass has the first change."""
        movements, bounds = runs.condition("r.id", self._moved)
        changes, more = runs.condition("r.id", self.events[Source.TRANSITION])
        others, last = runs.condition("r.id", self.events[Source.WALLET_CHANGE])
        source = Source.WALLET.value
        sql = _WALLETS.format(
            movements=movements,
            changes=changes,
            wallet_changes=others,
            has_place_r=_PLACE.format(source=source, column="r.wallet_id"),
            has_place_w=_PLACE.format(source=source, column="w.wallet_id"),
        )
        found = runs.runs_of(pk for (pk,) in _rows(sql, [*bounds, *more, *last]))
        added = [*self.events[Source.WALLET], *found]
        self.events[Source.WALLET] = runs.merged(added)


def _ids(some: Iterable[Run]) -> set[int]:
    return {one for first, last in some for one in range(first, last + 1)}


def _truth(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


def _rows(sql: str, values: list[int]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())

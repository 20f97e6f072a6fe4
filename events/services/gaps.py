"""Ids below the cursor without a committed row. See Note [Late rows].

Note [Late rows]. A row gets its id before it is committed, so a lower id may be
committed after a higher one: seconds later, or after an hour, if somebody holds a
transaction open. Nothing but the row itself shows whether it will ever come. So a gap is
never given up. While there are few, all are looked at in each pass. If there are many,
each is looked at again after a quarter of its age: age decides only how soon a late
row is found, and no clock decides whether. A clock that is set back delays it at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from events.models.progress import Gap
from events.services import runs
from events.services.runs import Run
from wallets.utils.database.transactions import database_now

# The most gaps, and look-ups of an index, of one pass.
MAX_GAPS = 200
MAX_PROBES = 2000
LEAST_WAIT = timedelta(seconds=0.2)


class Open:
    """The gaps that one pass looks at; `all`: there are no others."""

    def __init__(self) -> None:
        rows = list(Gap.objects.order_by("look_at", "pk")[: MAX_GAPS + 1])
        self._missing = {row.pk: runs.read(row.missing) for row in rows}
        probes = sum(map(runs.probes, self._missing.values()))
        self.all = len(rows) <= MAX_GAPS and probes <= MAX_PROBES
        self.rows: Sequence[Gap] = rows if self.all else self._due(rows)

    def _due(self, rows: Iterable[Gap]) -> list[Gap]:
        """Return the gaps that are to be looked at now, as many as one pass may."""
        now, probes = database_now(), 0
        due: list[Gap] = []
        for row in rows:
            probes += runs.probes(self._missing[row.pk])
            if (due and probes > MAX_PROBES) or row.look_at > now:
                break
            due.append(row)
        return due[:MAX_GAPS]

    def by_source(self) -> dict[int, list[Run]]:
        """Return the missing ids by source."""
        found: dict[int, list[Run]] = {}
        for row in self.rows:
            found.setdefault(row.source, []).extend(self._missing[row.pk])
        return {source: runs.merged(some) for source, some in found.items()}

    def close(self, found: Mapping[int, list[Run]]) -> None:
        """Take the found ids out of the gaps, and set when to look again.

        Call inside the transaction that has given the places.
        """
        now = None if self.all else database_now()
        for row in self.rows:
            before = self._missing[row.pk]
            left = runs.without(before, found.get(row.source, []))
            changes: dict[str, object] = {}
            if left != before:
                changes = {} if not left else _columns(left)
            if now is not None:
                changes["look_at"] = now + max(LEAST_WAIT, (now - row.seen_at) / 4)
            if not left:
                Gap.objects.filter(pk=row.pk).delete()
            elif changes:
                Gap.objects.filter(pk=row.pk).update(**changes)


def keep(source: int, missing: Iterable[Run]) -> None:
    """Keep the ids that a pass has not found. Call inside its transaction."""
    groups = list(runs.clusters(missing))
    if not groups:
        return
    now = database_now()
    Gap.objects.bulk_create(
        Gap(source=source, seen_at=now, look_at=now, **_columns(group))
        for group in groups
    )


def _columns(group: Sequence[Run]) -> dict[str, object]:
    return {
        "first": group[0][0],
        "last": group[-1][1],
        "missing": runs.written(group),
    }

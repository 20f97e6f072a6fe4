"""Ids below the cursor without a committed row. See Note [Late rows].

Note [Late rows]. A row gets its id before it is committed, so a lower id may be
committed after a higher one: seconds later, or after an hour, if somebody holds a
transaction open. Nothing but the row itself shows whether it will ever come. So a gap is
never given up. While there are few, all are looked at in each pass. If there are many,
each is looked at again after a quarter of its age: age decides only how soon a late
row is found, and no clock decides whether.

A look that was planned while the clock was ahead may lie as far ahead. It is known by
that: a quarter of the gap's age is the most that any look is planned ahead. So a row is
not found later than in four times the time in which it should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Q

from events.models.progress import Gap
from events.services import runs
from events.services.runs import Run
from wallets.utils.database.transactions import database_now

# The most gaps, and look-ups of an index, of one pass.
MAX_GAPS = 200
MAX_PROBES = 2000
LEAST_WAIT = timedelta(seconds=0.2)
# Ages of a second to 34 years. A younger gap is looked at before a quarter of this age.
_AGES = [timedelta(seconds=4**power) for power in range(16)]


class Open:
    """The gaps that one pass looks at; `all`: there are no others."""

    def __init__(self) -> None:
        rows = list(Gap.objects.order_by("look_at", "pk")[: MAX_GAPS + 1])
        self._missing: dict[int, list[Run]] = {}
        self.all = len(rows) <= MAX_GAPS and self._probes(rows) <= MAX_PROBES
        self.rows: Sequence[Gap] = rows if self.all else self._due()

    def _probes(self, rows: Iterable[Gap]) -> int:
        self._missing |= {row.pk: runs.read(row.missing) for row in rows}
        return sum(runs.probes(self._missing[row.pk]) for row in rows)

    def _due(self) -> list[Gap]:
        """Return the gaps that are to be looked at now, as many as one pass may."""
        due: list[Gap] = []
        probes = 0
        rows = Gap.objects.filter(_is_due(database_now()))
        for row in rows.order_by("look_at", "pk")[:MAX_GAPS]:
            probes += self._probes([row])
            if due and probes > MAX_PROBES:
                break
            due.append(row)
        return due

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
                # Else one that was seen by a clock that was ahead would be due for ever.
                seen_at = changes["seen_at"] = min(row.seen_at, now)
                changes["look_at"] = now + max(LEAST_WAIT, (now - seen_at) / 4)
            if not left:
                Gap.objects.filter(pk=row.pk).delete()
            elif changes:
                Gap.objects.filter(pk=row.pk).update(**changes)


def _is_due(now: datetime) -> Q:
    """The time has come; or it lies so far ahead that the clock has been set back since."""
    is_due = Q(look_at__lte=now) | Q(seen_at__gt=now)
    for age in _AGES:
        is_due |= Q(seen_at__gt=now - age, look_at__gt=now + age / 4)
    return is_due


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

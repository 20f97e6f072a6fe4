"""Sets of ids as ascending runs: (5, 5), (9, 12). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import inf

# First and last id, both inclusive.
Run = tuple[int, int]

# Missing ids that are no further apart than this share a gap: a cluster whose servers
# give every second or third id makes one gap of many runs, not many gaps.
NEAR = 8
MAX_RUNS = 500
# Shorter runs are looked up id by id, longer ones as a range.
SHORT = 4


def merged(runs: Iterable[Run]) -> list[Run]:
    """Return the same ids as ascending runs that do not touch."""
    found: list[Run] = []
    for first, last in sorted(runs):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def runs_of(ids: Iterable[int]) -> list[Run]:
    """Return ids as ascending runs."""
    return merged((one, one) for one in ids)


def between(runs: Iterable[Run]) -> list[Run]:
    """Return the ids that are missing between merged runs."""
    return [(last + 1, first - 1) for (_, last), (first, _) in pairwise(runs)]


def below(runs: Iterable[Run], end: int) -> list[Run]:
    """Return the part of the runs that is below `end`."""
    return [(first, min(last, end - 1)) for first, last in runs if first < end]


def without(runs: Iterable[Run], others: Iterable[Run]) -> list[Run]:
    """Return the ids of `runs` that are not in `others`."""
    taken = merged(others)
    found: list[Run] = []
    for first, last in merged(runs):
        inside = [one for one in taken if one[0] <= last and first <= one[1]]
        edges = [(first - 1, first - 1), *inside, (last + 1, last + 1)]
        found += [(low, high) for low, high in between(edges) if low <= high]
    return found


def contains(runs: Sequence[Run], one: int) -> bool:
    """Whether the id is in one of the merged runs."""
    place = bisect_right(runs, (one, inf))
    return place > 0 and one <= runs[place - 1][1]


def count(runs: Iterable[Run]) -> int:
    """Return the number of ids."""
    return sum(last - first + 1 for first, last in runs)


def clusters(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """Yield ascending runs in groups of near ones, of at most MAX_RUNS each."""
    group: list[Run] = []
    for run in runs:
        if group and (run[0] - group[-1][1] > NEAR or len(group) == MAX_RUNS):
            yield group
            group = []
        group.append(run)
    if group:
        yield group


def written(runs: Iterable[Run]) -> str:
    """Return the runs as text: "5,9-12"."""
    return ",".join(
        str(first) if first == last else f"{first}-{last}" for first, last in runs
    )


def read(text: str) -> list[Run]:
    """Return the runs of a text that `written` has made."""
    parts = (part.partition("-") for part in text.split(","))
    return [(int(first), int(last or first)) for first, _, last in parts]


def probes(runs: Iterable[Run]) -> int:
    """Return how many look-ups of an index it takes to find what is in the runs."""
    return sum(min(last - first + 1, SHORT) for first, last in runs)


def condition(column: str, runs: Iterable[Run]) -> tuple[str, list[int]]:
    """Return a condition of SQL that holds for the ids of the runs, and its values."""
    parts: list[str] = []
    bounds: list[int] = []
    alone: list[int] = []
    for first, last in runs:
        if last - first < SHORT:
            alone += range(first, last + 1)
        else:
            parts.append(f"{column} BETWEEN %s AND %s")
            bounds += [first, last]
    if alone or not parts:
        alone = alone or [0]  # no row has this id
        parts.append(f"{column} IN ({', '.join(['%s'] * len(alone))})")
    return f"({' OR '.join(parts)})", bounds + alone

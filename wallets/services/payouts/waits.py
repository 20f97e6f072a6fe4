"""How long ago an event happened, by elapsed time, across processes and machines.

No wall clock is used. An attempt stores, for each event, one *anchor* for each clock
that has observed the event: `{clock: [waited, elapsed_at]}`. It means: when that clock
showed `elapsed_at`, at least `waited` seconds had passed since the event.

Note [Lower bound]: a value that is read here is never more than the time that has
passed. Proof, by induction over the anchors. The first anchor, `[0, elapsed_at]`, is
taken at the event or later. Every later anchor stores a result of `waited_since`. This
is either a stored `waited`, which was true when it was stored and stays true; or an
anchor of the same clock plus the time that this clock has counted since, which has
really passed. A clock that goes back counts as standing still. The largest of several
lower bounds is a lower bound, and a deleted anchor does not change the others.

The *difference* of two lower bounds is not a lower bound, because the smaller one may
be much too small. So a distance between two moments needs an event and an anchor of its
own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

# The most anchors of one event: processes come and go, and the row must not grow.
MAX_CLOCKS = 20

# The events: the lease of the last send began; the lease of the first send began, if it
# was sent again; the first "not found" that counts was recorded, with no other answer
# since.
SENT = "sent"
FIRST_SENT = "first_sent"
NOT_FOUND = "not_found"

# What the sender's wall clock showed at each send: Unix time, in seconds.
SHOWN = "shown"

Anchors = dict[str, list[float]]
Waits = dict[str, Any]


def waited_since(waits: Any, event: str, *, clock: str, elapsed: float) -> float:
    """Return a lower bound of the seconds since the event; 0 if nothing is known.

    `elapsed` is the present value of the clock with that name. See Note [Lower bound].
    """
    longest = 0.0
    for name, waited, elapsed_at in _anchors(waits, event):
        passed = max(0.0, elapsed - elapsed_at) if name == clock else 0.0
        longest = max(longest, waited + passed)
    return longest


def begun(*, clock: str, elapsed: float, shown: float) -> Waits:
    """Return the anchors of an attempt whose lease begins now, or began a moment ago.

    Its first byte may be sent later, within the lease. A caller that needs the time
    since the last possible send must add the lease. `shown` is the sender's wall clock
    (Unix time, in seconds).
    """
    return {SENT: {clock: [0.0, elapsed]}, SHOWN: {SENT: shown}}


def begun_again(waits: Any, *, clock: str, elapsed: float, shown: float) -> Waits:
    """Return the anchors of an attempt that is sent again; FIRST_SENT goes on."""
    event = first_send(waits)
    again = begun(clock=clock, elapsed=elapsed, shown=shown)
    again[FIRST_SENT] = _observed(waits, event, clock, elapsed)
    first_shown = shown_at(waits, event)
    if first_shown is not None:
        again[SHOWN][FIRST_SENT] = first_shown
    return again


def shown_at(waits: Any, event: str) -> float | None:
    """Return what the sender's wall clock showed at that send; None if unknown."""
    known = waits.get(SHOWN) if isinstance(waits, dict) else None
    shown = known.get(event) if isinstance(known, dict) else None
    return shown if _is_time(shown) else None


def first_send(waits: Any) -> str:
    """Return the event of the attempt's first send."""
    return FIRST_SENT if knows(waits, FIRST_SENT) else SENT


def is_counted_by(waits: Any, event: str, clock: str) -> bool:
    """Whether only this clock has observed the event: then its bound is exact."""
    return [name for name, *_ in _anchors(waits, event)] == [clock]


def observed(waits: Any, *, clock: str, elapsed: float) -> Waits:
    """Return the anchors with a new anchor of this clock for each event."""
    events = [event for event in (SENT, FIRST_SENT, NOT_FOUND) if knows(waits, event)]
    known = {event: _observed(waits, event, clock, elapsed) for event in events}
    # An attempt of an earlier release has no anchors: count from now.
    nobody = {SENT: {"": [0.0, 0.0], clock: [0.0, elapsed]}}
    shown = {event: shown_at(waits, event) for event in (SENT, FIRST_SENT)}
    kept = {event: at for event, at in shown.items() if at is not None}
    return nobody | known | ({SHOWN: kept} if kept else {})


def with_not_found(waits: Waits, *, clock: str, elapsed: float) -> Waits:
    """Return the anchors with a "not found" from now on, or from an earlier one on."""
    if knows(waits, NOT_FOUND):
        return waits
    return waits | {NOT_FOUND: {clock: [0.0, elapsed]}}


def without_not_found(waits: Waits) -> Waits:
    """Return the anchors without the "not found": there was another answer."""
    return {event: known for event, known in waits.items() if event != NOT_FOUND}


def knows(waits: Any, event: str) -> bool:
    """Whether there is an anchor of the event."""
    return any(True for _ in _anchors(waits, event))


def _observed(waits: Any, event: str, clock: str, elapsed: float) -> Anchors:
    waited = waited_since(waits, event, clock=clock, elapsed=elapsed)
    others = [each for each in _anchors(waits, event) if each[0] != clock]
    while len(others) >= MAX_CLOCKS:
        # Any of the others may be deleted, because ours has the largest bound. A fixed
        # rule could always delete the clock that looks next.
        others.pop(random.randrange(len(others)))  # noqa: S311 (no secret)
    kept = {name: [before, elapsed_at] for name, before, elapsed_at in others}
    return kept | {clock: [waited, elapsed]}


def _anchors(waits: Any, event: str) -> Iterator[tuple[str, float, float]]:
    """Yield the well-formed anchors; others are no evidence."""
    known = waits.get(event) if isinstance(waits, dict) else None
    for name, anchor in known.items() if isinstance(known, dict) else ():
        if isinstance(anchor, list) and len(anchor) == 2:
            waited, elapsed_at = anchor
            if _is_time(waited) and _is_time(elapsed_at):
                yield name, waited, elapsed_at


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0

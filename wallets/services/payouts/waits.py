"""How long ago something happened, by elapsed time: across processes and machines.

No wall clock has a part in it. What is known of an event is kept with the attempt, as one
*anchor* for each clock that has looked: `{clock: [waited, elapsed_at]}`. It says: when that
clock showed `elapsed_at`, at least `waited` seconds had passed since the event.

Note [Lower bound]: whatever is read here is never more than what has really passed.
Proof, by induction over the anchors. The first one, `[0, elapsed_at]`, is taken at the
event or after it. Every later one stores what `waited_since` returned: either a stored
`waited`, true when it was stored and more true since; or an anchor of the same clock and
the time that this clock has counted since, which has really passed. A clock that shows
less than it did counts as standing still. The largest of lower bounds is one, too, and an
anchor that is forgotten takes nothing from the others.

The *difference* of two such bounds is none: the smaller may be much too small. So what is
measured between two moments needs an event, and a zero, of its own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

# What is remembered of one event: processes come and go, the row must not grow.
MAX_CLOCKS = 20

# The events: the lease of the last send began; that of the first, if it was sent again;
# a "not found" that counts was recorded, and nothing else since.
SENT = "sent"
FIRST_SENT = "first_sent"
NOT_FOUND = "not_found"

# What the sender's own wall clock showed at each of the sends: Unix time, in seconds.
SHOWN = "shown"

Anchors = dict[str, list[float]]
Waits = dict[str, Any]


def waited_since(waits: Any, event: str, *, clock: str, elapsed: float) -> float:
    """At least so many seconds have passed since the event, by all that is known.

    `elapsed` is what the clock of that name shows. 0 where nothing is known. See
    Note [Lower bound].
    """
    longest = 0.0
    for name, waited, elapsed_at in _anchors(waits, event):
        passed = max(0.0, elapsed - elapsed_at) if name == clock else 0.0
        longest = max(longest, waited + passed)
    return longest


def begun(*, clock: str, elapsed: float, shown: float) -> Waits:
    """What is known of an attempt whose lease begins now, or began a moment ago.

    Its first byte may leave later, within the lease: whoever must know how long nothing
    can have been sent adds the lease to what it waits for. `shown` is what the sender's
    wall clock shows.
    """
    return {SENT: {clock: [0.0, elapsed]}, SHOWN: {SENT: shown}}


def begun_again(waits: Any, *, clock: str, elapsed: float, shown: float) -> Waits:
    """The same of an attempt that is sent once more; since its first time goes on."""
    event = first_send(waits)
    again = begun(clock=clock, elapsed=elapsed, shown=shown)
    again[FIRST_SENT] = _observed(waits, event, clock, elapsed)
    first_shown = shown_at(waits, event)
    if first_shown is not None:
        again[SHOWN][FIRST_SENT] = first_shown
    return again


def shown_at(waits: Any, event: str) -> float | None:
    """What the sender's wall clock showed at that send; None where nobody knows."""
    known = waits.get(SHOWN) if isinstance(waits, dict) else None
    shown = known.get(event) if isinstance(known, dict) else None
    return shown if _is_time(shown) else None


def first_send(waits: Any) -> str:
    """The event of the attempt's first send."""
    return FIRST_SENT if knows(waits, FIRST_SENT) else SENT


def is_counted_by(waits: Any, event: str, clock: str) -> bool:
    """Whether that clock alone has counted since the event: then its bound is exact."""
    return [name for name, *_ in _anchors(waits, event)] == [clock]


def observed(waits: Any, *, clock: str, elapsed: float) -> Waits:
    """The same knowledge, with an anchor of this clock for each event."""
    events = [event for event in (SENT, FIRST_SENT, NOT_FOUND) if knows(waits, event)]
    known = {event: _observed(waits, event, clock, elapsed) for event in events}
    # An attempt of an earlier release: it was sent some time ago, and nobody counted.
    nobody = {SENT: {"": [0.0, 0.0], clock: [0.0, elapsed]}}
    shown = {event: shown_at(waits, event) for event in (SENT, FIRST_SENT)}
    kept = {event: at for event, at in shown.items() if at is not None}
    return nobody | known | ({SHOWN: kept} if kept else {})


def with_not_found(waits: Waits, *, clock: str, elapsed: float) -> Waits:
    """That "not found" was said now; if it was said before, since then."""
    if knows(waits, NOT_FOUND):
        return waits
    return waits | {NOT_FOUND: {clock: [0.0, elapsed]}}


def without_not_found(waits: Waits) -> Waits:
    """That something else was said since."""
    return {event: known for event, known in waits.items() if event != NOT_FOUND}


def knows(waits: Any, event: str) -> bool:
    """Whether anything is known of the event."""
    return any(True for _ in _anchors(waits, event))


def _observed(waits: Any, event: str, clock: str, elapsed: float) -> Anchors:
    waited = waited_since(waits, event, clock=clock, elapsed=elapsed)
    others = [each for each in _anchors(waits, event) if each[0] != clock]
    while len(others) >= MAX_CLOCKS:
        # Any may go (ours has the largest bound): by rule, the one that comes next would.
        others.pop(random.randrange(len(others)))  # noqa: S311 (no secret)
    kept = {name: [before, elapsed_at] for name, before, elapsed_at in others}
    return kept | {clock: [waited, elapsed]}


def _anchors(waits: Any, event: str) -> Iterator[tuple[str, float, float]]:
    """The anchors that are well formed: what is not, is no evidence."""
    known = waits.get(event) if isinstance(waits, dict) else None
    for name, anchor in known.items() if isinstance(known, dict) else ():
        if isinstance(anchor, list) and len(anchor) == 2:
            waited, elapsed_at = anchor
            if _is_time(waited) and _is_time(elapsed_at):
                yield name, waited, elapsed_at


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0

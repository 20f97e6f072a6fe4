"""The loop of `manage.py run_events`: passes, one soon after the other.

Several may run, also beside Beat's tick: one pass at a time gives places.
"""

from __future__ import annotations

import logging

from django.db import DatabaseError, InterfaceError, close_old_connections

from events.errors import UnknownRow
from events.services import sequencer
from wallets.utils import clock
from wallets.utils.messaging import stopping

logger = logging.getLogger(__name__)

# From a commit to its event: this wait and a pass, well within a second. Under load a
# longer wait makes passes larger, and an event cheaper.
IDLE, BUSY, LOADED = 0.25, 0.2, 0.4
MANY = 500
# After an error: the database is away, or only another release can go on.
TROUBLED = 2.0
# How long one tick of Beat may work off a backlog (seconds).
TICK_SECONDS = 8.0


def run(*, seconds: float = float("inf")) -> None:
    """Give places for `seconds`, or until the process is being stopped.

    Opens its own transactions. A database that is away ends one pass, not the loop.
    """
    ends = clock.elapsed() + seconds
    wait = 0.0
    while not stopping.wait(wait) and clock.elapsed() < ends:
        wait = _turn(had_work=wait in (0.0, BUSY, LOADED))


def tick() -> int:
    """Give places until there is nothing left, for TICK_SECONDS at most.

    Opens its own transactions. Return the number of events.

    :raises UnknownRow: the ledger has a row of a later release.
    """
    ends, events = clock.elapsed() + TICK_SECONDS, 0
    while sequencer.finds_work() and clock.elapsed() < ends:
        events += sequencer.run_pass().events
    return events


def _turn(*, had_work: bool) -> float:
    """Look, and give places if there is work; return how long to wait (seconds)."""
    close_old_connections()
    try:
        # Right after work there is mostly more: it is not looked for twice.
        if not had_work and not sequencer.finds_work():
            return IDLE
        done = sequencer.run_pass()
    except (DatabaseError, InterfaceError) as error:
        logger.error("pass ended by the database: %s", " ".join(str(error).split()))
        close_old_connections()
        return TROUBLED
    except UnknownRow as error:
        logger.error("the feed stands still: %s", error)
        return TROUBLED
    if done.more:
        return 0.0
    if not done.events:
        return IDLE
    return LOADED if done.events >= MANY else BUSY

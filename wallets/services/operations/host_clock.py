"""This host's wall clock against the database's: it decides nothing, but it may be wrong.

Logs are dated by it, brokers plan by it, people compare by it. Where it differs by
seconds, the host says so; nothing is corrected here.
"""

from __future__ import annotations

import logging
import time

from django.db import DatabaseError, InterfaceError, connection

from wallets.utils import clock
from wallets.utils.database.transactions import database_now

logger = logging.getLogger(__name__)

# Nearer than this is well: no host's clock is exact.
TOLERATED_SECONDS = 1.0
# A process looks, and says what is wrong, once in so many seconds.
SAY_AGAIN_SECONDS = 300.0

_next_look = 0.0


def offset() -> float:
    """By how many seconds, at least, this host's clock is ahead; less than 0 is behind.

    The database's clock was read at some moment of the query, nobody knows at which: what
    the query's duration can explain is no difference. One query. On SQLite the database
    is this machine, and there is none.
    """
    if connection.vendor == "sqlite":
        return 0.0
    connection.ensure_connection()  # so that its time is none of the query's
    began, shown = clock.elapsed(), time.time()
    theirs = database_now().timestamp()
    lasted = clock.elapsed() - began
    earliest, latest = shown - theirs, shown + lasted - theirs
    return max(earliest, 0.0) + min(latest, 0.0)


def describe(seconds: float) -> str | None:
    """Say in words how far it is off; None where that is tolerated."""
    if abs(seconds) <= TOLERATED_SECONDS:
        return None
    where = "ahead of" if seconds > 0 else "behind"
    return f"{abs(seconds):.1f} s {where} the database's clock"


def warn(*, at_once: bool = False) -> None:
    """Log it if this host's clock is off: once in a while, or `at_once`.

    Call outside a transaction. A database that does not answer is no reason to stop.
    """
    global _next_look
    if clock.elapsed() < _next_look and not at_once:
        return
    _next_look = clock.elapsed() + SAY_AGAIN_SECONDS
    try:
        seconds = offset()
    except (DatabaseError, InterfaceError) as error:
        logger.info("clock not compared: %s", type(error).__name__)
        return
    if words := describe(seconds):
        logger.warning("this host's clock is %s", words, extra={"offset": seconds})

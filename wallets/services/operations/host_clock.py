"""The difference of this host's wall clock and the database's.

A host's clock decides nothing about money, but log lines and people use it. A wrong
clock is reported here, not corrected.
"""

from __future__ import annotations

import logging
import time

from django.db import DatabaseError, InterfaceError, connection

from wallets.utils import clock
from wallets.utils.database.transactions import database_now

logger = logging.getLogger(__name__)

# Smaller differences are tolerated: no host's clock is exact.
TOLERATED_SECONDS = 1.0
# A process compares the clocks, and logs a difference, once in this time.
SAY_AGAIN_SECONDS = 300.0

_next_look = 0.0


def offset() -> float:
    """Return by how many seconds, at least, this clock is ahead (negative: behind).

    One query. The database reads its clock at an unknown moment of the query, so a
    difference within the query's duration counts as 0. On SQLite the database's clock
    is the host's; always 0.
    """
    if connection.vendor == "sqlite":
        return 0.0
    connection.ensure_connection()  # so that connecting is not part of the query
    began, shown = clock.elapsed(), time.time()
    theirs = database_now().timestamp()
    lasted = clock.elapsed() - began
    earliest, latest = shown - theirs, shown + lasted - theirs
    return max(earliest, 0.0) + min(latest, 0.0)


def describe(seconds: float) -> str | None:
    """Describe the offset (seconds) in words; None if it is tolerated."""
    if abs(seconds) <= TOLERATED_SECONDS:
        return None
    where = "ahead of" if seconds > 0 else "behind"
    return f"{abs(seconds):.1f} s {where} the database's clock"


def warn(*, at_once: bool = False) -> None:
    """Log a warning if this host's clock is wrong: from time to time, or `at_once`.

    Call outside a transaction. Does not raise if the database is away.
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

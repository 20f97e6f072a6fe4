"""A database that is away for a while: restarted, failed over, or read-only.

`run_in_transaction` retries for about a second. This module retries for longer, for
data that only this process has.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from wallets.utils import clock
from wallets.utils.damaged import DAMAGED
from wallets.utils.messaging import soft_limit, stopping

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Pauses in seconds: the first one, doubled each time up to the longest; a random half
# to all of it.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

_stopping_since: float | None = None  # when the stop was first noticed


def is_away(error: Exception) -> bool:
    """Whether the database failed as a whole, and not because of certain rows."""
    failed = isinstance(error, (DatabaseError, InterfaceError))
    return failed and not isinstance(error, DAMAGED)


def outlast(work: Callable[[], T], *, ends: float) -> T:
    """Repeat `work` while the database is away, until `ends` (`clock.elapsed`).

    Returns the result of `work`, which opens its own transactions and may run twice.
    Each try opens a new connection, because after a failover the old one may lead to a
    read-only server. A worker that is being stopped tries for at most
    WITHDRAWAL_RECORDING_TIME in all; one whose soft time limit has passed, once more.

    :raises DatabaseError, InterfaceError: the last error.
    """
    for tries in count():
        last = clock.elapsed() >= end(ends) or soft_limit.struck()
        try:
            return work()
        except (DatabaseError, InterfaceError) as error:
            if last or not is_away(error):
                raise
            logger.warning(
                "the database is away, trying again: %s",
                type(error).__name__,
            )
        if not connection.in_atomic_block:
            connection.close()
        _pause(tries, ends)
    raise AssertionError("unreachable: it returns or raises")


def end(ends: float) -> float:
    """Return `ends`, or earlier for a worker that is being stopped (`clock.elapsed`)."""
    global _stopping_since
    if not stopping.wait(0):
        _stopping_since = None
    elif _stopping_since is None:
        _stopping_since = clock.elapsed()
    if _stopping_since is None:
        return ends
    return min(ends, _stopping_since + settings.WITHDRAWAL_RECORDING_TIME)


def _pause(tries: int, ends: float) -> None:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 16))
    pause = random.uniform(longest / 2, longest)  # noqa: S311 (no secret)
    time.sleep(max(0.0, min(pause, ends - clock.elapsed())))

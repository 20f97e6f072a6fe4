"""A database that is away for a while: restarted, failed over, read-only, or full of deadlocks.

`run_in_transaction` runs again what another moment would cure, within a second. Here is
the patience for what must not be lost meanwhile, because only this process knows it.
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

# Pauses: the first, doubled each time up to the cap; half to all of it, by chance.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

_stopping_since: float | None = None  # when it was first noticed here


def is_away(error: Exception) -> bool:
    """Whether the database failed as a whole, not because of rows that it has."""
    failed = isinstance(error, (DatabaseError, InterfaceError))
    return failed and not isinstance(error, DAMAGED)


def outlast(work: Callable[[], T], *, ends: float) -> T:
    """Do `work` again while the database is away, until `ends` (of `clock.elapsed`).

    Return what it returns. `work` opens its own transactions and may be done twice. Each
    time a new connection is opened: after a failover the old one may lead to a server
    that only reads. A worker that is being stopped does so for WITHDRAWAL_RECORDING_TIME
    at most, in all; one whose soft time limit has struck, once more.

    :raises DatabaseError, InterfaceError: the last of the database's refusals.
    """
    for tries in count():
        last = clock.elapsed() >= _end(ends) or soft_limit.struck()
        try:
            return work()
        except (DatabaseError, InterfaceError) as error:
            if last or not is_away(error):
                raise
            logger.warning(
                "the database is away, what is in hand is kept: %s",
                type(error).__name__,
            )
        if not connection.in_atomic_block:
            connection.close()
        _pause(tries, ends)
    raise AssertionError("unreachable: it returns or raises")


def _end(ends: float) -> float:
    """When a worker that is being stopped has been patient for long enough; else `ends`."""
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

"""Work on many rows of which some may break the rules: the others are done.

For every sweep: all at once, and where that fails, each alone. What an unreachable
database, a deadlock or a lock that is held says, is not about the rows, and ends the work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DataError, IntegrityError

from wallets.errors import DamagedRows, IllegalTransition, LostRace

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What rows that break the rules answer with, however often they are read or written to:
# the last ones are values that cannot be read, and rows that are not there.
DAMAGED = (
    *(DataError, IntegrityError, LostRace),
    *(DamagedRows, IllegalTransition),
    *(ObjectDoesNotExist, LookupError, ValueError),
)

PutAside = Callable[[T, Exception], object]


def each_alone(
    work: Callable[[list[T]], object],
    items: Sequence[T],
    *,
    put_aside: PutAside[T] | None = None,
) -> list[T]:
    """Do `work` with one item after the other; return those whose rows are `DAMAGED`.

    For what failed with all of them at once: one damaged row must not keep the others
    from being done. `work` opens its own transaction; so does `put_aside`, which is
    called for each damaged item after its transaction was rolled back.
    """
    failed = []
    for item in items:
        try:
            work([item])
        except DAMAGED as error:
            logger.exception("damaged rows: left as they are, verify the ledger")
            failed.append(item)
            if put_aside:
                put_aside(item, error)
    return failed


def all_or_each(
    work: Callable[[list[T]], object],
    items: Sequence[T],
    *,
    put_aside: PutAside[T] | None = None,
) -> list[T]:
    """Do `work` with all items at once; if rows among them are `DAMAGED`, with each alone.

    `work` opens its own transaction. Returns as `each_alone` does.
    """
    try:
        work(list(items))
    except DAMAGED:
        return each_alone(work, items, put_aside=put_aside)
    return []

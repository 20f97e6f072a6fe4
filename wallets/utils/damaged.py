"""Work on many rows of which some may be damaged: the others are done.

The work is done with all rows together, and if that fails, with each alone. Errors of
an unreachable database, a deadlock or a lock time-out are not about rows, and end the
work.
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

# The errors of damaged rows, whenever they are read or written. The last groups are for
# unreadable values, values of another type (SQLite stores any), and missing rows; for a
# time that the driver gives as a text, or Django as None (a zero date of MySQL); and for
# a number that is too large for its column.
DAMAGED = (
    *(DataError, IntegrityError, LostRace),
    *(DamagedRows, IllegalTransition),
    *(ObjectDoesNotExist, LookupError, ValueError, TypeError),
    *(AttributeError, OverflowError),
)

PutAside = Callable[[T, Exception], object]


def each_alone(
    work: Callable[[list[T]], object],
    items: Sequence[T],
    *,
    put_aside: PutAside[T] | None = None,
) -> list[T]:
    """Do `work` with each item alone; return the items whose rows are `DAMAGED`.

    For work that failed with all items together. `work` opens its own transaction, and
    so does `put_aside`, which is called for each damaged item after its rollback.
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
    """Do `work` with all items; if rows are `DAMAGED`, with each item alone.

    `work` opens its own transaction. Returns the damaged items.
    """
    try:
        work(list(items))
    except DAMAGED:
        return each_alone(work, items, put_aside=put_aside)
    return []

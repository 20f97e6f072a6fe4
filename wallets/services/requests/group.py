"""Requests of many who did not choose each other: one of them fails or delays no other.

What stands in the way of one, a key that somebody is just using, damaged rows, costs the
others a bounded number of short transactions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from wallets.services.requests.busy import Busy
from wallets.utils.damaged import DAMAGED

logger = logging.getLogger(__name__)

R = TypeVar("R")
A = TypeVar("A")

# PostgreSQL waits this long for a key that another transaction is just using: it cannot
# leave such a key out. MySQL and MariaDB can tell at once.
KEY_WAIT_SECONDS = 0.005


def in_halves(
    work: Callable[[dict[int, R]], Mapping[int, A] | None], requests: Sequence[R]
) -> list[A | Busy]:
    """Do `work` with all requests; answer each, in order: `Busy` where it got no answer.

    `work` opens its own transactions, gets the requests by number, and answers by number.
    Where it returns None, or rows are `DAMAGED`, nothing was done, and one of its requests
    stands in the way of the others. Then each half is tried, and its halves, until that
    one is alone: twice the logarithm of their number for one, twice their number for all.
    """
    answers: dict[int, A] = {}
    parts = [dict(enumerate(requests))] if requests else []
    while parts:
        part = parts.pop()
        found = _unless_damaged(work, part)
        if found is not None:
            answers.update(found)
        elif len(part) > 1:
            items = [*part.items()]
            middle = len(items) // 2
            parts += [dict(items[middle:]), dict(items[:middle])]
    return [
        answers[n] if n in answers else Busy("ask again, alone")
        for n in range(len(requests))
    ]


def _unless_damaged(
    work: Callable[[dict[int, R]], Mapping[int, A] | None], requests: dict[int, R]
) -> Mapping[int, A] | None:
    try:
        return work(requests)
    except DAMAGED:
        if len(requests) == 1:
            logger.exception("damaged rows: left as they are, verify the ledger")
        return None

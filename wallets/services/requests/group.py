"""Bisection of a batch: one request does not fail or delay the others.

A conflict of one request (a key in use, damaged rows) costs the others a bounded number
of short transactions.
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

# PostgreSQL waits this long for a key that another transaction uses, because it cannot
# skip such a key. MySQL and MariaDB detect it at once.
KEY_WAIT_SECONDS = 0.005


def in_halves(
    work: Callable[[dict[int, R]], Mapping[int, A] | None], requests: Sequence[R]
) -> list[A | Busy]:
    """Do `work` with all requests; return one result each, in order, or `Busy`.

    `work` opens its own transactions, gets the requests by number, and returns results
    by number. If it returns None, or raises `DAMAGED`, nothing was done, because of at
    least one of its requests. Then each half is tried, and its halves, until that
    request is alone. With n requests one conflict costs 2 log n calls; conflicts of all
    cost 2 n.
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

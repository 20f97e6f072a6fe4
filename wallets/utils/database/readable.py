"""Reads rows of which some cannot be read: all others are returned.

A driver or Django fails at the first unreadable value, and with it the whole query. Only
then are the rows read one by one. Reads only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import Any, TypeVar, cast

from django.db.models import Min, Model, QuerySet

from wallets.errors import DamagedRows
from wallets.utils.damaged import DAMAGED

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Model)
R = TypeVar("R")
V = TypeVar("V")
PutAside = Callable[[int, Exception], object]
Reading = Callable[[], AbstractContextManager[Any]]

# The most unreadable rows for which a page is filled up.
_MOST = 100
# How many unreadable times are skipped to find the earliest that can be read.
_SKIPPED = 100


def _same(row: Any) -> Any:
    return row


def rows(
    query: QuerySet[Any, Any],
    put_aside: PutAside,
    reading: Reading = nullcontext,
    *,
    make: Callable[[Any], R] = _same,
) -> list[R]:
    """Return the rows in order, each made by `make`, without those that cannot be read.

    `put_aside` is called with the id of each of these, and the error, outside of
    `reading`: the context in which the query is run, which may be a transaction.
    """
    try:
        with reading():
            found = [make(row) for row in query]
        for row in found:
            _check(row)
    except DAMAGED:
        with reading():
            ids = _ids(query)
        return _one_by_one(query, ids, put_aside, make)
    return found


def page(
    query: QuerySet[Any, Any],
    size: int,
    put_aside: PutAside,
    reading: Reading = nullcontext,
    *,
    make: Callable[[Any], R] = _same,
) -> list[R]:
    """Return the first `size` rows, as `rows`; others take the places of unreadable ones.

    So a page that is not full is the last one, unless more than _MOST rows before its
    end cannot be read.
    """
    left_out: list[int] = []

    def aside(pk: int, error: Exception) -> None:
        left_out.append(pk)
        put_aside(pk, error)

    found = rows(query[:size], aside, reading, make=make)
    while len(found) < size and left_out and len(left_out) < _MOST:
        before = len(left_out)
        found = rows(query.exclude(pk__in=left_out)[:size], aside, reading, make=make)
        if len(left_out) == before:
            break
    return found


def in_chunks(query: QuerySet[M], size: int, put_aside: PutAside) -> Iterator[list[M]]:
    """Yield all rows by id, `size` at a time, without those that cannot be read.

    In bounded memory on every engine.
    """
    last = 0
    while True:
        some = query.filter(pk__gt=last).order_by("pk")[:size]
        try:
            found = list(some)
            for row in found:
                _check(row)
            last = found[-1].pk if found else last
        except DAMAGED:
            ids = _ids(some)
            last = max(ids)
            found = _one_by_one(some, ids, put_aside, _same)
        else:
            if not found:
                return
        yield found


def values(query: QuerySet[Any, V], size: int) -> Iterator[V]:
    """Yield the values of a `values_list`, without those that cannot be read.

    In chunks of `size`, unless one cannot be read.
    """
    done = 0
    try:
        for one in query.iterator(chunk_size=size):
            yield one
            done += 1
        return
    except DAMAGED:
        logger.exception("damaged rows: left as they are, verify the ledger")
    for pk in _ids(query)[done:]:
        whole = query.all()
        whole.query.clear_limits()
        with suppress(*DAMAGED):
            yield whole.get(pk=pk)


def earliest(query: QuerySet[Any], column: str) -> datetime | None:
    """Return the earliest time in this column that can be read; None if there is none.

    At most _SKIPPED unreadable ones are skipped.
    """
    try:
        found: datetime | None = query.aggregate(at=Min(column))["at"]
        return found
    except DAMAGED:
        logger.exception("damaged rows: left as they are, verify the ledger")
    return _first_known(query.order_by(column, "pk"), column)


def first(query: QuerySet[Any], column: str) -> datetime | None:
    """Return the time of the first of the ordered rows whose time can be read.

    As `earliest`, for rows in the order of an index.
    """
    try:
        found = query.values_list(column).first()
        if found is None or found[0] is not None:
            return found and found[0]
    except DAMAGED:
        logger.exception("damaged rows: left as they are, verify the ledger")
    return _first_known(query, column)


def _first_known(query: QuerySet[Any], column: str) -> datetime | None:
    some = query.filter(**{f"{column}__isnull": False})
    for pk in list(some.values_list("pk", flat=True)[:_SKIPPED]):
        with suppress(*DAMAGED):
            moment = query.filter(pk=pk).values_list(column, flat=True).get()
            # Django reads some unreadable times of SQLite as None.
            if moment is not None:
                return cast(datetime, moment)
    return None


def _ids(query: QuerySet[Any]) -> list[int]:
    return list(query.prefetch_related(None).values_list("pk", flat=True))


def _one_by_one(
    query: QuerySet[Any, Any],
    ids: list[int],
    put_aside: PutAside,
    make: Callable[[Any], R],
) -> list[R]:
    whole = query.all()
    whole.query.clear_limits()
    found: list[R] = []
    for pk in ids:
        try:
            row = make(whole.get(pk=pk))
            _check(row)
            found.append(row)
        except DAMAGED as error:
            logger.exception("damaged rows: left as they are, verify the ledger")
            put_aside(pk, error)
    return found


def _check(row: object) -> None:
    """Refuse a row without its time: Django reads some unreadable ones as None.

    :raises DamagedRows: it has none.
    """
    if getattr(row, "created_at", row) is None:
        raise DamagedRows("created_at cannot be read")

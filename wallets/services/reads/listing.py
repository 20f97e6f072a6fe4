"""Pages of all wallets, or of all transactions, newest first. Reads only.

A page is found by the index of creation times. A condition that no index has is checked
for at most WINDOW rows. So a page may have fewer rows than it could, or none, and yet a
following page: no request reads a million rows to find ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from enum import Enum, auto
from typing import Any, Generic, NamedTuple, TypeVar

from django.db.models import Model, Q, QuerySet

from wallets.services.payouts import damage
from wallets.utils.database import readable
from wallets.utils.database.transactions import read_in_order

M = TypeVar("M", bound=Model)

# The most rows that are read for one page.
WINDOW = 10_000


class Position(NamedTuple):
    """The place of a row in the list: when it was created (UTC), and its id."""

    created_at: datetime
    pk: int


class Found(Enum):
    """How the rows that fulfil the conditions are found."""

    IN_WINDOWS = auto()  # no index has them
    IN_ORDER = auto()  # an index has them in the order of the list
    AT_ONCE = auto()  # a unique column has one at most


class Page(NamedTuple, Generic[M]):
    """Some rows, and the position after which the next page begins; None: the end."""

    rows: list[M]
    following: Position | None


def page_of(
    rows: QuerySet[M],
    *,
    after: Position | None,
    count: int,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    others: Mapping[str, Any],
    found: Found = Found.IN_WINDOWS,
) -> Page[M]:
    """Return at most `count` rows after this position, newest first.

    A row that cannot be read is left out, with an alarm.

    Creation times are from `created_from` (inclusive) to `created_to` (exclusive).
    `others` are further conditions, and `found` says how they find rows.
    """
    left = rows.order_by("-created_at", "-pk")
    if created_from is not None:
        left = left.filter(created_at__gte=created_from)
    if created_to is not None:
        left = left.filter(created_at__lt=created_to)
    if after is not None:
        left = left.filter(_after(after))
    # For one row PostgreSQL may sort; else it would read the list until it meets it.
    reading: readable.Reading = nullcontext if found is Found.AT_ONCE else read_in_order
    edge = None
    if others and found is Found.IN_WINDOWS:
        with reading():
            edge = _edge(left)
        if edge is not None:
            left = left.filter(created_at__gte=edge.created_at).exclude(_after(edge))
    page: list[M] = readable.page(
        left.filter(**others), count + 1, damage.put_aside(rows.model), reading
    )
    if len(page) > count:
        last: Any = page[count - 1]
        return Page(page[:count], Position(last.created_at, last.pk))
    return Page(page, edge)


def _after(position: Position) -> Q:
    """Return the condition of all later positions of the list."""
    # The first part is the range of the index.
    return Q(created_at__lte=position.created_at) & (
        Q(created_at__lt=position.created_at) | Q(pk__lt=position.pk)
    )


def _edge(rows: QuerySet[Any]) -> Position | None:
    """Return the last position of the window; None if it has all rows."""
    last = rows.values_list("created_at", "pk")[WINDOW - 1 : WINDOW]
    return next((Position(*one) for one in last), None)

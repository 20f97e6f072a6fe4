"""A wallet's statement, read from its movements.

Nothing is written. The movements of a wallet are numbered without gaps in the order of
their commits, and their times never decrease. So what was read up to a number never
changes, and a page is a range of numbers.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from wallets.models.ledger import Movement
from wallets.models.rows import MovementRow
from wallets.models.wallet import Wallet
from wallets.services.reads import reads_postgresql, relations
from wallets.services.reads.current import wallets_by_uuid
from wallets.services.reads.points import Point, last_with, newest, numbered
from wallets.utils.limits import MAX_BIGINT

# Rows of one query when a whole statement is exported.
BATCH = 1000


@dataclass(frozen=True)
class Statement:
    """The movements after `opening` up to and including `closing`."""

    wallet_id: int
    opening: Point
    closing: Point

    def page(self, after: int, limit: int) -> Sequence[MovementRow]:
        """Return at most `limit` movements after this number, in order.

        One query, and at most two for the other sides of transfers. A page is a range
        of numbers, so its cost does not depend on the database's
        statistics. With ORDER BY and LIMIT a database without statistics sorted the
        whole wallet for each page.
        """
        rows = Movement.objects.filter(
            wallet_id=self.wallet_id,
            sequence__gt=after,
            sequence__lte=min(after + limit, self.closing.sequence),
        )
        found = rows.order_by("sequence").values_list(*MovementRow._fields)
        return relations.of_movements(map(MovementRow._make, found))

    @property
    def count(self) -> int:
        """The number of movements."""
        return self.closing.sequence - self.opening.sequence

    def batches(self) -> Iterator[Sequence[MovementRow]]:
        """Yield all movements in bounded memory. Each batch is one query."""
        for after in range(self.opening.sequence, self.closing.sequence, BATCH):
            yield self.page(after, BATCH)


class StatementRequest(NamedTuple):
    """A page of a statement: movements from `start` to before `end`, oldest first.

    `position` is `following` of the previous page; None for the first page. It belongs
    to the statement that the first page began, so `start` and `end` are then ignored.
    """

    wallet: uuid.UUID | str
    limit: int
    start: datetime | None = None
    end: datetime | None = None
    position: Sequence[int] | None = None


class UnknownPosition(Exception):
    """The wallet has no statement with this position."""


@dataclass(frozen=True)
class StatementPage:
    """A page of a wallet's statement."""

    wallet: Wallet
    statement: Statement
    movements: Sequence[MovementRow]

    @property
    def following(self) -> list[int] | None:
        """The position of the next page; None for the last page.

        The number of this page's last movement and those of the statement's ends, so
        that all pages belong to the same statement.
        """
        statement = self.statement
        if (
            not self.movements
            or self.movements[-1].sequence >= statement.closing.sequence
        ):
            return None
        last = self.movements[-1].sequence
        return [last, statement.opening.sequence, statement.closing.sequence]


def statement_pages(
    asked: Sequence[StatementRequest],
) -> list[StatementPage | Wallet.DoesNotExist | UnknownPosition]:
    """Return the pages, in order, or an exception for an unknown wallet or position.

    On PostgreSQL two queries for all pages without times; otherwise a few queries for
    each page.
    """
    wallets = wallets_by_uuid([one.wallet for one in asked])
    known = {n: one for n, one in enumerate(wallets) if isinstance(one, Wallet)}
    found = _pages_at_once({n: (known[n], asked[n]) for n in known})
    return [
        one if isinstance(one, Exception) else found.get(n) or _page(one, asked[n])
        for n, one in enumerate(wallets)
    ]


def _pages_at_once(
    asked: Mapping[int, tuple[Wallet, StatementRequest]],
) -> dict[int, StatementPage]:
    """Return, by number, the pages that one query on PostgreSQL finds."""
    ranges = {}
    if connection.vendor == "postgresql":
        ranges = {n: _range_of(*one) for n, one in asked.items()}
    plain = {n: one for n, one in ranges.items() if one is not None}
    found = reads_postgresql.movements([*plain.values()])
    pages = {}
    for (n, numbers), movements in zip(plain.items(), found, strict=True):
        if movements is not None:
            wallet, _ = asked[n]
            opening = Point(numbers.opening, movements.opening_balance)
            closing = Point(numbers.closing, movements.closing_balance)
            statement = Statement(wallet.pk, opening, closing)
            pages[n] = StatementPage(wallet, statement, movements.page)
    relations.of_movements(row for page in pages.values() for row in page.movements)
    return pages


def _range_of(wallet: Wallet, asked: StatementRequest) -> reads_postgresql.Range | None:
    """Return the numbers of the page's movements, if they are known without a query."""
    if asked.position is not None:
        after, opening, closing = asked.position
    elif asked.start is None and asked.end is None:
        after, opening, closing = 0, 0, wallet.movement_count
    else:
        return None
    if not 0 <= opening <= after <= closing <= MAX_BIGINT:
        return None
    last = min(after + asked.limit, closing)
    return reads_postgresql.Range(wallet.pk, opening, closing, after, last)


def _page(wallet: Wallet, asked: StatementRequest) -> StatementPage | UnknownPosition:
    if asked.position is None:
        statement = statement_of(wallet, asked.start, asked.end)
        after = statement.opening.sequence
    else:
        after, opening, closing = asked.position
        found = statement_between(wallet, opening, closing)
        if found is None or not opening <= after <= closing:
            return UnknownPosition(f"{asked.position} of wallet {wallet.uuid}")
        statement = found
    return StatementPage(wallet, statement, statement.page(after, asked.limit))


def statement_of(
    wallet: Wallet, start: datetime | None = None, end: datetime | None = None
) -> Statement:
    """Return the movements from `start` to before `end`; without them, all.

    So the closing balance of a day is the opening balance of the next day. A movement
    that commits meanwhile is left out, and stays out on every page.
    """
    # Read the end first: movements with lower numbers no longer change.
    closing = last_with(wallet, created_at__lt=end) if end else newest(wallet)
    opening = Point(0, 0)
    if start is not None:
        known = closing.sequence
        opening = last_with(wallet, created_at__lt=start, sequence__lte=known)
    return Statement(wallet.pk, opening, closing)


def statement_between(wallet: Wallet, opening: int, closing: int) -> Statement | None:
    """Return the statement after movement `opening` up to movement `closing`.

    None if the wallet has no such movements. At most two queries of one row.
    """
    if not 0 <= opening <= closing:
        return None
    first, last = numbered(wallet, opening), numbered(wallet, closing)
    return Statement(wallet.pk, first, last) if first and last else None

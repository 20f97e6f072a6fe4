"""The past of a wallet, read from its movements: balance at a moment, statement.

Nothing is written here. The movements of a wallet are numbered without gaps, in the order
of their commits, and never go back in time; so what was read up to one number stays as it
is, and a page is a range of numbers.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from wallets.models.ledger import Movement
from wallets.models.wallet import Wallet
from wallets.services.reads import reads_postgresql
from wallets.services.reads.current import wallets_by_uuid
from wallets.utils.database.transactions import read_in_order
from wallets.utils.limits import MAX_BIGINT

# Rows of one query while a whole statement is written out.
BATCH = 1000


@dataclass(frozen=True)
class Point:
    """A wallet after the movement with this number; number 0 is before the first."""

    sequence: int
    balance: int


@dataclass(frozen=True)
class Statement:
    """The movements after `opening`, up to and with `closing`."""

    wallet_id: int
    opening: Point
    closing: Point

    def page(self, after: int, limit: int) -> Sequence[Movement]:
        """At most so many movements, in their order, after this number. One query.

        Numbers have no gaps, so a page is a range of them, and reading it costs a page
        whatever the database knows of the table. With ORDER BY and LIMIT instead, it
        read and sorted the whole wallet for each page before its first ANALYZE.
        """
        rows = Movement.objects.filter(
            wallet_id=self.wallet_id,
            sequence__gt=after,
            sequence__lte=min(after + limit, self.closing.sequence),
        )
        return list(rows.order_by("sequence"))

    @property
    def count(self) -> int:
        """How many movements it has."""
        return self.closing.sequence - self.opening.sequence

    def batches(self) -> Iterator[Sequence[Movement]]:
        """All of them, in bounded memory. Each batch is one query."""
        for after in range(self.opening.sequence, self.closing.sequence, BATCH):
            yield self.page(after, BATCH)


class StatementRequest(NamedTuple):
    """A page of a statement: its movements from `start` on and before `end`, oldest first.

    `position` is the `following` of the page before; None for the first page. A position
    belongs to the statement that the first page began: `start` and `end` do not count then.
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
    movements: Sequence[Movement]

    @property
    def following(self) -> list[int] | None:
        """Where the next page begins; None for the last one.

        The numbers of this page's last movement, and of the statement's ends: all pages
        are of the statement that the first one began.
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
    """Return the pages, in order; or that there is no such wallet or position.

    On PostgreSQL two queries for all that begin with the wallet, or at a position;
    otherwise, and elsewhere, a few for each page.
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
    """Those of the pages that one query of PostgreSQL's finds, by number."""
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
    return pages


def _range_of(wallet: Wallet, asked: StatementRequest) -> reads_postgresql.Range | None:
    """The numbers of the page's movements, where they are known without a look."""
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


class BalanceRequest(NamedTuple):
    """The balance of a wallet at a moment; without `at`, now."""

    wallet: uuid.UUID | str
    at: datetime | None = None


def balances(asked: Sequence[BalanceRequest]) -> list[Point | Wallet.DoesNotExist]:
    """Return what the wallets held, in order: see `balance_at`.

    On PostgreSQL two queries for all that are asked for now.
    """
    wallets = wallets_by_uuid([one.wallet for one in asked])
    known = {n: one for n, one in enumerate(wallets) if isinstance(one, Wallet)}
    pages = _pages_at_once(
        {
            n: (wallet, StatementRequest(wallet.uuid, limit=0))
            for n, wallet in known.items()
            if asked[n].at is None
        }
    )
    found = {n: page.statement.closing for n, page in pages.items()}
    return [
        (
            one
            if isinstance(one, Exception)
            else found.get(n) or balance_at(one, asked[n].at)
        )
        for n, one in enumerate(wallets)
    ]


def balance_at(wallet: Wallet, at: datetime | None = None) -> Point:
    """What the wallet held once all that happened up to `at` had happened.

    Without `at`: what it holds now. Before its first movement a wallet holds nothing,
    before it was opened too. One query of one row.
    """
    if at is None:
        return _newest(wallet)
    return _last(wallet, created_at__lte=at)


def statement_of(
    wallet: Wallet, start: datetime | None = None, end: datetime | None = None
) -> Statement:
    """The movements from `start` on and before `end`; without them, all there are.

    So the closing balance of one day is the opening balance of the next. A movement that
    commits while this runs is left out, and stays out on every page.
    """
    # The end first: what is numbered below it can no longer change.
    closing = _last(wallet, created_at__lt=end) if end else _newest(wallet)
    opening = Point(0, 0)
    if start is not None:
        known = closing.sequence
        opening = _last(wallet, created_at__lt=start, sequence__lte=known)
    return Statement(wallet.pk, opening, closing)


def statement_between(wallet: Wallet, opening: int, closing: int) -> Statement | None:
    """The statement that begins after one movement's number and ends with another's.

    None where the wallet has no such movements. Two queries of one row at most.
    """
    if not 0 <= opening <= closing:
        return None
    first, last = _numbered(wallet, opening), _numbered(wallet, closing)
    return Statement(wallet.pk, first, last) if first and last else None


def _numbered(wallet: Wallet, number: int) -> Point | None:
    """The wallet after the movement of this number, found as a range of one.

    Asked for two of them at once, PostgreSQL may look through the whole wallet.
    """
    if number == 0:
        return Point(0, 0)
    rows = Movement.objects.filter(
        wallet=wallet, sequence__gte=number, sequence__lte=number
    )
    return _first(rows.order_by("sequence"))


def _newest(wallet: Wallet) -> Point:
    """The wallet's last movement, found by the number that the wallet itself has of it.

    Only what was written since the wallet was read is looked through: no plan reads more.
    """
    rows = Movement.objects.filter(wallet=wallet).order_by("-sequence")
    found = _first(rows.filter(sequence__gte=wallet.movement_count))
    if found is None and wallet.movement_count:  # damaged: it has fewer than it counted
        found = _first(rows)
    return found or Point(0, 0)


def _last(wallet: Wallet, **conditions: Any) -> Point:
    """The wallet's last movement under these conditions, by the index by time.

    By time, then number, is the same order as by number alone. MariaDB reads from a wallet's
    end on if it is asked for one wallet, and from the right place if asked for a range.
    """
    rows = Movement.objects.filter(**conditions)
    if connection.vendor == "sqlite":
        ordered = rows.filter(wallet=wallet).order_by("-created_at", "-sequence")
    else:
        rows = rows.filter(wallet__gte=wallet.pk, wallet__lte=wallet.pk)
        ordered = rows.order_by("-wallet_id", "-created_at", "-sequence")
    with read_in_order():
        return _first(ordered) or Point(0, 0)


def _first(rows: QuerySet[Movement]) -> Point | None:
    row = rows.values_list("sequence", "balance_after").first()
    return Point(*row) if row else None

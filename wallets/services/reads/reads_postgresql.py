"""Reads for clients on PostgreSQL: one prepared statement for many requests.

`services.reads.current` reads the same on other engines by Django's queries.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from wallets.models.rows import MovementRow, TransactionRow
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.utils.database.prepared import array, execute_prepared
from wallets.utils.database.stored import Columns
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    run_in_transaction,
)

# All rows are found by an index and then put together. A plan that joins the tables
# would read all of a table that was small when the plan was made.
_WALLETS = (
    "SELECT {wallet} FROM wallets_wallet AS w WHERE uuid = ANY (%(uuids)s::uuid[])"
)

_TRANSACTIONS = """
SELECT {transaction}, {wallet}
FROM (SELECT * FROM wallets_wallet WHERE uuid = ANY (%(uuids)s::uuid[]) OFFSET 0) AS w
    JOIN (SELECT * FROM wallets_transaction WHERE id = ANY (%(ids)s::bigint[]) OFFSET 0)
        AS t ON t.wallet_id = w.id
"""

# A wallet's rows are a range of the index that begins with the wallet, read backwards
# from the end of the page. With "wallet = x, newest first" the planner may read the
# rows of all wallets. The index by time fits all three conditions less, and its rows
# would have to be sorted, so no statistics make the planner choose it.
_PAGES = """
SELECT asked.place, {transaction}
FROM unnest(%(wallets)s::uuid[], %(befores)s::bigint[], %(counts)s::bigint[])
        WITH ORDINALITY AS asked (uuid, before, count, place)
    CROSS JOIN LATERAL (
        SELECT id AS wallet FROM wallets_wallet WHERE uuid = asked.uuid OFFSET 0
    ) AS w
    LEFT JOIN LATERAL (
        SELECT * FROM wallets_transaction AS one
        WHERE one.wallet_id >= w.wallet AND one.wallet_id <= w.wallet
            AND (one.wallet_id, one.id) < (w.wallet, asked.before)
        ORDER BY one.wallet_id DESC, one.id DESC LIMIT asked.count
    ) AS t ON true
"""

# Movements are numbered without gaps, so a page is a range of numbers. A number is asked for
# as a range in order: asked for as equal, it may be searched by the index of times, through
# all of a wallet's movements, where the planner last counted one movement for each wallet.
_MOVEMENTS = """
SELECT asked.place, coalesce(ends.opening, 0), coalesce(ends.closing, 0), {movement}
FROM unnest(%(wallets)s::bigint[], %(openings)s::bigint[], %(closings)s::bigint[],
        %(afters)s::bigint[], %(lasts)s::bigint[])
        WITH ORDINALITY AS asked (wallet, opening, closing, after, last, place)
    CROSS JOIN LATERAL (
        SELECT (SELECT balance_after FROM wallets_movement WHERE wallet_id = asked.wallet
                    AND sequence >= asked.opening AND sequence <= asked.opening
                ORDER BY sequence LIMIT 1) AS opening,
            (SELECT balance_after FROM wallets_movement WHERE wallet_id = asked.wallet
                    AND sequence >= asked.closing AND sequence <= asked.closing
                ORDER BY sequence LIMIT 1) AS closing
        OFFSET 0
    ) AS ends
    LEFT JOIN LATERAL (
        SELECT * FROM wallets_movement WHERE wallet_id = asked.wallet
            AND sequence > asked.after AND sequence <= asked.last
        ORDER BY sequence
    ) AS m ON true
WHERE (ends.opening IS NOT NULL OR asked.opening = 0)
    AND (ends.closing IS NOT NULL OR asked.closing = 0)
"""

# The columns of the rows of both.
COLUMNS = {
    "transaction": ", ".join(f't."{name}"' for name in TransactionRow._fields),
    "movement": ", ".join(f'm."{name}"' for name in MovementRow._fields),
}


class Range(NamedTuple):
    """Numbers of a wallet's movements: the ends of a statement, and a page of it."""

    wallet_id: int
    opening: int
    closing: int
    after: int
    last: int


class Movements(NamedTuple):
    """The balances at a statement's ends (minor units), and a page, in order."""

    opening_balance: int
    closing_balance: int
    page: list[MovementRow]


def wallets(uuids: Collection[UUID]) -> list[Wallet]:
    """Return the wallets of these UUIDs, in no order."""
    columns = _wallet()
    sql = _WALLETS.format(wallet=columns.sql)
    return [columns.instance(row) for row in _read(sql, {"uuids": array(uuids)})]


def transactions(uuids: Iterable[UUID], ids: Iterable[int]) -> list[Transaction]:
    """Return these transactions of these wallets, with their wallets, unordered."""
    mine, its = _transaction(), _wallet()
    sql = _TRANSACTIONS.format(transaction=mine.sql, wallet=its.sql)
    found = []
    for row in _read(sql, {"uuids": array(uuids), "ids": array(ids)}):
        wallet = its.instance(row[mine.count :])
        found.append(mine.instance(row[: mine.count], wallet=wallet))
    return found


def newest(asked: Sequence[tuple[UUID, int, int]]) -> list[list[TransactionRow] | None]:
    """For each (wallet, before, count): the newest transactions below `before`.

    None: there is no such wallet.
    """
    if not asked:
        return []
    names = ("wallets", "befores", "counts")
    arrays = map(array, zip(*asked, strict=True))
    values = dict(zip(names, arrays, strict=True))
    pages: list[list[TransactionRow] | None] = [None] * len(asked)
    for place, *row in _read(_PAGES.format(**COLUMNS), values):
        page = pages[place - 1]
        if page is None:
            page = pages[place - 1] = []
        if row[0] is not None:
            page.append(TransactionRow._make(row))
    for page in pages:
        if page is not None:
            page.sort(reverse=True)  # by their ids, which come first
    return pages


def movements(asked: Sequence[Range]) -> list[Movements | None]:
    """Return the pages; None if a wallet has no movement with the number of an end."""
    if not asked:
        return []
    names = ("wallets", "openings", "closings", "afters", "lasts")
    arrays = map(array, zip(*asked, strict=True))
    values = dict(zip(names, arrays, strict=True))
    found: list[Movements | None] = [None] * len(asked)
    for place, opening, closing, *row in _read(_MOVEMENTS.format(**COLUMNS), values):
        page = found[place - 1]
        if page is None:
            page = found[place - 1] = Movements(opening, closing, [])
        if row[0] is not None:
            page.page.append(MovementRow._make(row))
    for page in found:
        if page is not None:
            page.page.sort(key=attrgetter("sequence"))
    return found


def _read(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    return run_in_transaction(
        lambda: execute_prepared(sql, values),
        patience=CLIENT_PATIENCE_SECONDS,
        one_statement=True,
    )


@functools.cache
def _wallet() -> Columns[Wallet]:
    return Columns(Wallet, "w")


@functools.cache
def _transaction() -> Columns[Transaction]:
    return Columns(Transaction, "t")

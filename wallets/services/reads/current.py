"""What clients look at: wallets, transactions, pages of them; many at once.

Nothing is written here, and nothing locked. Each function answers in the order in which it
was asked, by one query for all where the engine can.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.reads import reads_postgresql
from wallets.services.requests.checks import checked_uuid
from wallets.utils.database.transactions import read_in_order
from wallets.utils.limits import MAX_BIGINT

# The largest id that a column holds.


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page of a wallet's transactions, newest first: at most `count`.

    Only those with ids below `before`, of this status and type, and created from
    `created_from` on and before `created_to`; None: whatever.
    """

    wallet: uuid.UUID | str
    before: int | None = None
    count: int = 50
    status: str | None = None
    type: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    @property
    def end(self) -> int:
        """The id before which the page begins."""
        return MAX_BIGINT if self.before is None else self.before

    @property
    def is_plain(self) -> bool:
        """Whether any transaction of the wallet will do."""
        conditions = (self.status, self.type, self.created_from, self.created_to)
        return conditions == (None, None, None, None)


def wallets_by_uuid(
    uuids: Sequence[uuid.UUID | str],
) -> list[Wallet | Wallet.DoesNotExist]:
    """Return the wallets; or that there is no such one. One query."""
    wanted = [_uuid_of(one) for one in uuids]
    possible = {one for one in wanted if one is not None}
    rows: Iterable[Wallet] = ()
    if connection.vendor == "postgresql" and possible:
        rows = reads_postgresql.wallets(possible)
    elif possible:
        rows = Wallet.objects.filter(uuid__in=possible)
    found: dict[uuid.UUID | None, Wallet] = {wallet.uuid: wallet for wallet in rows}
    return [
        found[key] if key in found else Wallet.DoesNotExist(f"no wallet {given}")
        for key, given in zip(wanted, uuids, strict=True)
    ]


def transactions_by_id(
    asked: Sequence[tuple[uuid.UUID | str, int]],
) -> list[Transaction | Transaction.DoesNotExist]:
    """Return the transactions, each with its wallet; or that it has no such one. One query.

    A transaction exists only under its own wallet.
    """
    wanted = [(_uuid_of(wallet), pk) for wallet, pk in asked]
    possible = {
        (wallet, pk)
        for wallet, pk in wanted
        if wallet is not None and 0 < pk <= MAX_BIGINT
    }
    rows: Iterable[Transaction] = ()
    if connection.vendor == "postgresql" and possible:
        rows = reads_postgresql.transactions(*zip(*possible, strict=True))
    elif possible:
        ids = {pk for _, pk in possible}
        rows = Transaction.objects.select_related("wallet").filter(pk__in=ids)
    found: dict[tuple[uuid.UUID | None, int], Transaction] = {
        (row.wallet.uuid, row.pk): row for row in rows
    }
    return [
        found.get(key)
        or Transaction.DoesNotExist(f"no transaction {key[1]} of wallet {wallet}")
        for key, (wallet, _) in zip(wanted, asked, strict=True)
    ]


def pages(
    asked: Sequence[PageRequest],
) -> list[list[Transaction] | Wallet.DoesNotExist]:
    """Return the pages, each row with its wallet; or that there is no such wallet.

    On PostgreSQL two queries for all that have no conditions but `before`; otherwise, and
    elsewhere, one for each page.
    """
    wallets = wallets_by_uuid([one.wallet for one in asked])
    known = {n: one for n, one in enumerate(wallets) if isinstance(one, Wallet)}
    plain = [
        n for n in known if connection.vendor == "postgresql" and asked[n].is_plain
    ]
    found = reads_postgresql.newest(
        [(known[n], asked[n].end, asked[n].count) for n in plain]
    )
    answers = dict(zip(plain, found, strict=True))
    for n in known.keys() - answers.keys():
        answers[n] = _page(known[n], asked[n])
    return [
        one if isinstance(one, Exception) else answers[n]
        for n, one in enumerate(wallets)
    ]


def _page(wallet: Wallet, asked: PageRequest) -> list[Transaction]:
    # In the order of the list, from its place on, and nothing sorted. But for a time long
    # ago everything newer would be read: there is an index by time.
    by_time = asked.created_from is not None or asked.created_to is not None
    with nullcontext() if by_time else read_in_order():
        page = list(_rows_of(wallet, asked)[: asked.count])
    for row in page:
        row.wallet = wallet
    return page


def _rows_of(wallet: Wallet, asked: PageRequest) -> QuerySet[Transaction]:
    conditions = {
        "pk__lt": asked.end,
        "status": asked.status,
        "transaction_type": asked.type,
        "created_at__gte": asked.created_from,
        "created_at__lt": asked.created_to,
    }
    known = {name: value for name, value in conditions.items() if value is not None}
    return _newest_first(wallet).filter(**known)


def _newest_first(wallet: Wallet) -> QuerySet[Transaction]:
    """A wallet's transactions, by the index that begins with the wallet, read backwards.

    PostgreSQL takes "equal, newest first" as leave to read all wallets' rows backwards:
    quick where this one's are among the last, and a million rows where they are not.
    MariaDB reads a big wallet's from its end to the page. Asked for a range in the
    index's own order, backwards, they have no such choice.
    """
    if connection.vendor == "sqlite":
        return wallet.transactions.order_by("-pk")
    mine = Transaction.objects.filter(wallet__gte=wallet.pk, wallet__lte=wallet.pk)
    return mine.order_by("-wallet_id", "-pk")


def _uuid_of(given: uuid.UUID | str) -> uuid.UUID | None:
    try:
        return checked_uuid(given)
    except Wallet.DoesNotExist:
        return None

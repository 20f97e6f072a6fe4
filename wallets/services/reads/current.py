"""Reads for clients: wallets, transactions and pages of them; many in one call.

Nothing is written or locked. Each function returns its results in the order of the
requests, by one query for all where the engine can.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from wallets.models.rows import TransactionRow
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import damage
from wallets.services.reads import reads_postgresql, relations
from wallets.services.requests.checks import checked_uuid
from wallets.utils.damaged import DAMAGED
from wallets.utils.database import readable
from wallets.utils.database.transactions import read_in_order
from wallets.utils.limits import MAX_BIGINT


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page of a wallet's transactions, newest first: at most `count`.

    Only ids below `before`, this status and type, and creation times from
    `created_from` (inclusive) to `created_to` (exclusive). None: no such condition.
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
        """The page has only ids below this one."""
        return MAX_BIGINT if self.before is None else self.before

    @property
    def is_plain(self) -> bool:
        """Whether the page has no condition except `before`."""
        conditions = (self.status, self.type, self.created_from, self.created_to)
        return conditions == (None, None, None, None)


def wallets_by_uuid(
    uuids: Sequence[uuid.UUID | str],
) -> list[Wallet | Wallet.DoesNotExist]:
    """Return the wallets, or `DoesNotExist` for each unknown one. One query."""
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
    """Return the transactions with their wallets, or `DoesNotExist`.

    One query, and at most two for the other sides of transfers. A transaction is found only under its own wallet.
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
        rows = list(Transaction.objects.select_related("wallet").filter(pk__in=ids))
    relations.of_transactions(rows)
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
) -> list[list[TransactionRow] | Wallet.DoesNotExist]:
    """Return the pages, or `DoesNotExist` of the wallet.

    On PostgreSQL one query for all pages whose only condition is `before`; otherwise
    one for all wallets, and one for each page. At most two more for the other sides of
    transfers. A row that cannot be read is left out, with an alarm.
    """
    answers: dict[int, list[TransactionRow] | Wallet.DoesNotExist] = {}
    # If one row cannot be read, each page is read by itself, without such rows.
    with suppress(*DAMAGED):
        answers |= _plain_pages(asked)
    left = [n for n in range(len(asked)) if n not in answers]
    wallets = wallets_by_uuid([asked[n].wallet for n in left])
    for n, wallet in zip(left, wallets, strict=True):
        answers[n] = (
            wallet if isinstance(wallet, Exception) else _page(wallet, asked[n])
        )
    rows = (page for page in answers.values() if isinstance(page, list))
    relations.of_transactions(row for page in rows for row in page)
    return [answers[n] for n in range(len(asked))]


def _plain_pages(asked: Sequence[PageRequest]) -> dict[int, list[TransactionRow]]:
    """Return, by number, the pages that one query on PostgreSQL finds."""
    if connection.vendor != "postgresql":
        return {}
    wanted = {n: _uuid_of(one.wallet) for n, one in enumerate(asked)}
    plain = {n: one for n, one in wanted.items() if one and asked[n].is_plain}
    found = reads_postgresql.newest(
        [(one, asked[n].end, asked[n].count) for n, one in plain.items()]
    )
    return {n: page for n, page in zip(plain, found, strict=True) if page is not None}


def _page(wallet: Wallet, asked: PageRequest) -> list[TransactionRow]:
    # Read by the index of the list, from the page's end on, without sorting. With a
    # range of times this would read all newer rows; there is an index by time.
    by_time = asked.created_from is not None or asked.created_to is not None
    return readable.page(
        _rows_of(wallet, asked).values_list(*TransactionRow._fields),
        asked.count,
        damage.put_aside(Transaction),
        nullcontext if by_time else read_in_order,
        make=TransactionRow._make,
    )


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
    """Return a wallet's transactions, newest first.

    They are read backwards by the index that begins with the wallet. For "wallet = x,
    newest first" PostgreSQL may read the rows of all wallets backwards: fast if this
    wallet's are among the last, and a million rows otherwise. MariaDB reads a large
    wallet from its end to the page. A range in the order of the index leaves both no
    such choice.
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

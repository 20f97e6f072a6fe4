"""What clients look at: wallets, transactions, pages of them; many at once.

Nothing is written here, and nothing locked. Each function answers in the order in which it
was asked, by one query for all where the engine can.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.checks import checked_uuid

_NOBODY = uuid.UUID(int=0)
# The largest id that a column holds.
MAX_ID = 2**63 - 1


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


def wallets_by_uuid(
    uuids: Sequence[uuid.UUID | str],
) -> list[Wallet | Wallet.DoesNotExist]:
    """Return the wallets; or that there is no such one."""
    wanted = [_uuid_of(one) for one in uuids]
    rows = Wallet.objects.filter(uuid__in={*wanted})
    found = {wallet.uuid: wallet for wallet in rows}
    return [
        found[key] if key in found else Wallet.DoesNotExist(f"no wallet {given}")
        for key, given in zip(wanted, uuids, strict=True)
    ]


def transactions_by_id(
    asked: Sequence[tuple[uuid.UUID | str, int]],
) -> list[Transaction | Transaction.DoesNotExist]:
    """Return the transactions, each with its wallet: a transaction exists only under it."""
    ids = {pk for _, pk in asked if 0 < pk <= MAX_ID}
    rows = Transaction.objects.select_related("wallet").filter(pk__in=ids)
    found = {(row.wallet.uuid, row.pk): row for row in rows}
    return [
        found.get((_uuid_of(wallet), pk))
        or Transaction.DoesNotExist(f"no transaction {pk} of wallet {wallet}")
        for wallet, pk in asked
    ]


def pages(
    asked: Sequence[PageRequest],
) -> list[list[Transaction] | Wallet.DoesNotExist]:
    """Return the pages, each row with its wallet; or that there is no such wallet."""
    wallets = wallets_by_uuid([one.wallet for one in asked])
    return [
        _page(wallet, one) if isinstance(wallet, Wallet) else wallet
        for wallet, one in zip(wallets, asked, strict=True)
    ]


def _page(wallet: Wallet, asked: PageRequest) -> list[Transaction]:
    rows = _newest_first(wallet)
    conditions = {
        "pk__lt": asked.before,
        "status": asked.status,
        "transaction_type": asked.type,
        "created_at__gte": asked.created_from,
        "created_at__lt": asked.created_to,
    }
    rows = rows.filter(**{k: v for k, v in conditions.items() if v is not None})
    page = list(rows[: asked.count])
    for row in page:
        row.wallet = wallet
    return page


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


def _uuid_of(given: uuid.UUID | str) -> uuid.UUID:
    """The UUID; of what is none, one that no wallet has."""
    try:
        return checked_uuid(given)
    except Wallet.DoesNotExist:
        return _NOBODY

"""The balance of a wallet after one of its movements, each found as one row of an index.

Nothing is written. The movements of a wallet are numbered without gaps in the order of
their commits, and their times never decrease.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from wallets.models.ledger import Movement
from wallets.models.wallet import Wallet
from wallets.utils.database.transactions import read_in_order


@dataclass(frozen=True)
class Point:
    """The balance (minor units) after movement `sequence`; 0: before the first."""

    sequence: int
    balance: int


def numbered(wallet: Wallet, number: int) -> Point | None:
    """Return the wallet's balance after the movement of this number.

    Queried as a range of one, because for two numbers in one query PostgreSQL may read
    the whole wallet.
    """
    if number == 0:
        return Point(0, 0)
    rows = Movement.objects.filter(
        wallet=wallet, sequence__gte=number, sequence__lte=number
    )
    return _first(rows.order_by("sequence"))


def newest(wallet: Wallet) -> Point:
    """Return the balance after the wallet's last movement.

    It begins at the wallet's own count, so that no plan reads more than newer
    movements.
    """
    rows = Movement.objects.filter(wallet=wallet).order_by("-sequence")
    found = _first(rows.filter(sequence__gte=wallet.movement_count))
    if found is None and wallet.movement_count:  # damaged: movements are missing
        found = _first(rows)
    return found or Point(0, 0)


def last_with(wallet: Wallet, **conditions: Any) -> Point:
    """Return the balance after the wallet's last movement with these conditions.

    By the index by time: the order by time and number is the order by number. For one
    wallet MariaDB would read from the wallet's end; for a range it begins at the right
    place.
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

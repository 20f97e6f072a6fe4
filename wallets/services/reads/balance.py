"""A wallet's balance at a moment, or now, read from its movements. Nothing is written."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from wallets.models.wallet import Wallet
from wallets.services.reads import reads_postgresql
from wallets.services.reads.current import wallets_by_uuid
from wallets.services.reads.points import Point, last_with, newest, numbered
from wallets.services.reads.reads_postgresql import Range


class BalanceRequest(NamedTuple):
    """A request for a wallet's balance at a moment; without `at`: now."""

    wallet: uuid.UUID | str
    at: datetime | None = None


class Balance(NamedTuple):
    """The balance of a wallet at a moment."""

    at: datetime
    point: Point


def balances(
    asked: Sequence[BalanceRequest], *, now: datetime
) -> list[Balance | Wallet.DoesNotExist]:
    """Return the balances, in order; without `at` the present ones.

    `now` is the database's clock before this call. A present balance is that of its
    last movement, whose time may be later than `now`; then the answer has this time.
    With a clock that is read afterwards, a movement in between would be before the
    answer's time and not in its balance.

    On PostgreSQL two queries for all requests without `at`.
    """
    wallets = wallets_by_uuid([one.wallet for one in asked])
    known = {n: one for n, one in enumerate(wallets) if isinstance(one, Wallet)}
    present = _present({n: one for n, one in known.items() if asked[n].at is None})
    answers: list[Balance | Wallet.DoesNotExist] = []
    for n, one in enumerate(wallets):
        at = asked[n].at
        if isinstance(one, Exception):
            answers.append(one)
        elif at is not None:
            answers.append(Balance(at, balance_at(one, at)))
        else:
            moved = one.updated_at if one.movement_count else now
            answers.append(Balance(max(now, moved), present[n]))
    return answers


def balance_at(wallet: Wallet, at: datetime) -> Point:
    """Return the balance after all movements up to and including `at`.

    Before its first movement a wallet has 0, also before it was created. One query of
    one row.
    """
    return last_with(wallet, created_at__lte=at)


def _present(wallets: Mapping[int, Wallet]) -> dict[int, Point]:
    """Return the balances after the last movements that the wallets name."""
    found = {}
    if connection.vendor == "postgresql":
        counts = {n: one.movement_count for n, one in wallets.items()}
        ranges = [Range(wallets[n].pk, c, c, c, c) for n, c in counts.items()]
        read = reads_postgresql.movements(ranges)
        found = {
            n: Point(counts[n], one.closing_balance)
            for n, one in zip(counts, read, strict=True)
            if one is not None
        }
    # Not the newest ones, if they are newer than the wallet: its time is not theirs.
    return {
        n: found.get(n) or numbered(one, one.movement_count) or newest(one)
        for n, one in wallets.items()
    }

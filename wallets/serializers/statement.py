"""A statement as clients see it, and as a spreadsheet does."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from wallets.models.ledger import Movement
from wallets.utils import instants

COLUMNS = [
    "sequence",
    "at",
    "kind",
    "transaction",
    "attempt",
    "amount",
    "change",
    "balance_after",
]


def movement_line(movement: Movement) -> dict[str, Any]:
    """`amount` is what moved, `change` what that did to the balance.

    A settlement changes it by 0: the money left the balance when it was held. It is shown
    all the same, so that the numbers have no gaps and every payment is seen.
    """
    return {
        "sequence": movement.sequence,
        "at": instants.write(movement.created_at),
        "kind": movement.kind,
        "transaction": movement.transaction_id,
        "attempt": movement.attempt_number or None,
        "amount": movement.amount,
        "change": movement.change,
        "balance_after": movement.balance_after,
    }


def text_of(instant: datetime | None) -> str | None:
    """The instant as answers have it, null where there is none."""
    return instants.write(instant) if instant else None


def balance_line(
    kind: str, at: datetime | None, sequence: int, balance: int
) -> dict[str, Any]:
    """The balance that a spreadsheet opens or closes with."""
    return {
        "sequence": sequence,
        "at": text_of(at),
        "kind": kind,
        "balance_after": balance,
    }


def csv_parts(
    opening: dict[str, Any],
    batches: Iterable[Iterable[Movement]],
    closing: dict[str, Any],
) -> Iterator[str]:
    """The whole statement, many lines at a time (RFC 4180).

    The first line after the header is the opening balance, the last one the closing
    balance: a file that broke off has none. All values are numbers, times and words of
    ours, so that no spreadsheet finds a formula in them.
    """
    writer = csv.DictWriter(_Echo(), COLUMNS, restval="")
    yield writer.writerow(dict(zip(COLUMNS, COLUMNS, strict=True)))
    yield writer.writerow(opening)
    for movements in batches:
        yield "".join(writer.writerow(movement_line(one)) for one in movements)
    yield writer.writerow(closing)


class _Echo:
    """A file that hands each line back to who writes it."""

    def write(self, line: str) -> str:
        return line

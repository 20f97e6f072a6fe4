"""What transactions and movements refer to: a transfer's other side, what is corrected or returned.

Nothing is written or locked. The other wallet's balance is never read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from wallets.models.correction import Correction
from wallets.models.counterparty import Counterparty
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer

R = TypeVar("R", Transaction, Movement)

_Type = Transaction.TransactionType
# Of each type: the column of its row, and those of the other wallet.
_TRANSFERS = {
    _Type.TRANSFER_OUT.value: ("debit", "to_wallet"),
    _Type.TRANSFER_IN.value: ("credit", "from_wallet"),
}
# Of each type: the column of its row, and that of what it corrects.
CORRECTIONS = {
    _Type.CORRECTION_OUT.value: ("debit", "corrects"),
    _Type.CORRECTION_IN.value: ("credit", "credit_corrects"),
}


class Corrects(NamedTuple):
    """What an entry corrects, both as ids of transactions; why, and who made it."""

    entry: int
    corrected: int
    reason: str
    actor: str


def corrections_of(kind: str, entries: Iterable[int]) -> Iterator[Corrects]:
    """Yield what these transactions of one type of `CORRECTIONS` correct. One query."""
    mine, what = CORRECTIONS[kind]
    rows = Correction.objects.filter(**{f"{mine}__in": entries})
    for row in rows.values_list(mine, what, "reason", "actor"):
        yield Corrects(*row)


def of_transactions(rows: Iterable[Transaction]) -> None:
    """Set what the rows refer to: one query for each type that refers to something."""
    _relate({row.pk: row for row in rows}, lambda row: row.transaction_type)


def of_movements(rows: Iterable[Movement]) -> list[Movement]:
    """Set what the rows refer to, and return all rows.

    One query for each kind that refers to something.
    """
    known = list(rows)
    # The kinds of these are the types of their transactions, in small letters. Each
    # transaction has one movement.
    _relate({row.transaction_id: row for row in known}, lambda row: row.kind.upper())
    return known


def _relate(rows: Mapping[int, R], type_of: Callable[[R], str]) -> None:
    """Set what the rows, by the id of their transaction, refer to."""
    ids: dict[str, list[int]] = defaultdict(list)
    for pk, row in rows.items():
        ids[type_of(row)].append(pk)
    for kind, (mine, theirs) in _TRANSFERS.items():
        if kind in ids:
            found = Transfer.objects.filter(**{f"{mine}__in": ids[kind]})
            for pk, *other in found.values_list(
                mine, "uuid", f"{theirs}__uuid", f"{theirs}__reference"
            ):
                rows[pk].counterparty = Counterparty(*other)
    for kind in CORRECTIONS:
        if kind in ids:
            for one in corrections_of(kind, ids[kind]):
                rows[one.entry].corrected = one.corrected
    if _Type.RETURN in ids:
        made = PaymentReturn.objects.filter(credit__in=ids[_Type.RETURN])
        for pk, withdrawal in made.values_list("credit", "withdrawal"):
            rows[pk].returned = withdrawal

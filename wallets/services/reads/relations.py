"""What transactions and movements refer to: a transfer's other side, what is corrected or returned.

Nothing is written or locked. The other wallet's balance is never read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from wallets.models.correction import Correction
from wallets.models.counterparty import Counterparty
from wallets.models.ledger import Movement
from wallets.models.payment_return import PaymentReturn
from wallets.models.rows import MovementRow, TransactionRow
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer

R = TypeVar("R", Transaction, TransactionRow, Movement, MovementRow)
T = TypeVar("T", Transaction, TransactionRow)
M = TypeVar("M", Movement, MovementRow)

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

# The types that refer to something; the kinds of movements are these in small letters.
_REFER = frozenset({*_TRANSFERS, *CORRECTIONS, _Type.RETURN.value})
_KINDS = frozenset(kind.lower() for kind in _REFER)


def of_transactions(rows: Iterable[T]) -> None:
    """Set what the rows refer to: one query for each type that refers to something."""
    concerned = {row.id: row for row in rows if row.transaction_type in _REFER}
    _relate(concerned, lambda row: row.transaction_type)


def of_movements(rows: Iterable[M]) -> list[M]:
    """Set what the rows refer to, and return all rows.

    One query for each kind that refers to something.
    """
    known = list(rows)
    # Each transaction of these kinds has one movement.
    concerned = {row.transaction_id: row for row in known if row.kind in _KINDS}
    _relate(concerned, lambda row: row.kind.upper())
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
    for kind, (mine, what) in CORRECTIONS.items():
        if kind in ids:
            made = Correction.objects.filter(**{f"{mine}__in": ids[kind]})
            for pk, corrected in made.values_list(mine, what):
                rows[pk].corrected = corrected
    if _Type.RETURN in ids:
        returns = PaymentReturn.objects.filter(credit__in=ids[_Type.RETURN])
        for pk, withdrawal in returns.values_list("credit", "withdrawal"):
            rows[pk].returned = withdrawal

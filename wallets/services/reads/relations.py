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
    for kind, (mine, what) in CORRECTIONS.items():
        if kind in ids:
            made = Correction.objects.filter(**{f"{mine}__in": ids[kind]})
            for pk, corrected in made.values_list(mine, what):
                rows[pk].corrected = corrected
    if _Type.RETURN in ids:
        returns = PaymentReturn.objects.filter(credit__in=ids[_Type.RETURN])
        for pk, withdrawal in returns.values_list("credit", "withdrawal"):
            rows[pk].returned = withdrawal

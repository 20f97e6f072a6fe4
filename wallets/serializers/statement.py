"""Statements, as JSON and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rest_framework import serializers

from wallets.models.ledger import Movement
from wallets.models.rows import MovementRow
from wallets.serializers.fields import (
    AmountField,
    BalanceField,
    ChangeField,
    CorrectsField,
    CounterpartyField,
    CounterpartyReferenceField,
    CountField,
    IdField,
    InstantField,
    KeywordNames,
    ReturnsField,
    TransferField,
    WalletField,
    WordField,
)
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
    "transfer",
    "counterparty",
    "corrects",
    "returns",
]


class AttemptField(serializers.IntegerField):
    """The number of an attempt; null without one (0 in the row)."""

    def to_representation(self, value: Any) -> Any:
        return value or None


class MovementSerializer(serializers.Serializer):
    """A line of a statement.

    A settle changes the balance by 0, because the hold has reduced it. It is listed, so
    that the numbers have no gaps and every payment is shown.
    """

    sequence = IdField(help_text="Its number in the wallet's statement, without gaps.")
    at = InstantField(source="created_at", help_text="When it happened.")
    kind = WordField(
        Movement.Kind.choices,
        help_text="A withdrawal's money is held before it is sent to the bank, then "
        "settled when the bank paid, or released when it did not. A transfer goes out of "
        "one wallet and into another. A correction takes back what a deposit or a "
        "transfer moved wrongly. A return is a payment that the bank sent back later.",
    )
    transaction = IdField(
        source="transaction_id", help_text="The transaction of the movement."
    )
    attempt = AttemptField(
        source="attempt_number",
        min_value=1,
        allow_null=True,
        help_text="The attempt of the withdrawal; null for others.",
    )
    amount = AmountField(help_text="The moved money, in minor units.")
    change = ChangeField(
        help_text="The change of the balance: 0 for a settle, because the hold has "
        "reduced the balance."
    )
    balance_after = BalanceField(help_text="The balance after the movement.")
    transfer = TransferField()
    counterparty = CounterpartyField()
    counterparty_reference = CounterpartyReferenceField()
    corrects = CorrectsField()
    returns = ReturnsField()


class StatementSerializer(KeywordNames):
    """A page of a statement, with the balances of the whole statement."""

    wallet = WalletField(help_text="The wallet.")
    from_ = InstantField(allow_null=True, help_text="The requested beginning.")
    to = InstantField(allow_null=True, help_text="The requested end, exclusive.")
    opening_balance = BalanceField(
        help_text="The balance before the first movement of all pages."
    )
    closing_balance = BalanceField(
        help_text="The balance after the last movement of all pages."
    )
    movements = MovementSerializer(
        many=True, help_text="The movements of this page, oldest first."
    )


class BalanceSerializer(serializers.Serializer):
    """A wallet's balance at a moment."""

    wallet = WalletField(help_text="The wallet.")
    at = InstantField(help_text="The moment; without `?at=`, that of the answer.")
    balance = BalanceField(help_text="The balance at that moment, in minor units.")
    sequence = CountField(
        help_text="The last counted movement; 0 before the first. It is exact: a "
        "movement that was under way at this moment may get its time and be counted later."
    )


def movement_line(movement: Movement | MovementRow) -> dict[str, Any]:
    """Return the same as `MovementSerializer`, faster, for `strict_json.dumps`."""
    transfer, counterparty, reference = movement.counterparty or (None, None, None)
    return {
        "sequence": movement.sequence,
        "at": movement.created_at,
        "kind": movement.kind,
        "transaction": movement.transaction_id,
        "attempt": movement.attempt_number or None,
        "amount": movement.amount,
        "change": movement.change,
        "balance_after": movement.balance_after,
        "transfer": transfer,
        "counterparty": counterparty,
        "counterparty_reference": reference,
        "corrects": movement.corrected,
        "returns": movement.returned,
    }


def text_of(instant: datetime | None) -> str | None:
    """Return the instant in the form of answers, or None."""
    return instants.write(instant) if instant else None


def balance_line(
    kind: str, at: datetime | None, sequence: int, balance: int
) -> dict[str, Any]:
    """Return the opening or closing line of a CSV."""
    return {
        "sequence": sequence,
        "at": text_of(at),
        "kind": kind,
        "balance_after": balance,
    }


def csv_parts(
    opening: dict[str, Any],
    batches: Iterable[Iterable[MovementRow]],
    closing: dict[str, Any],
) -> Iterator[str]:
    """Yield the whole statement as CSV (RFC 4180), many lines at a time.

    The first line after the header is the opening balance, the last one the closing
    balance; an incomplete file lacks it. All values are numbers, times, UUIDs and words
    of ours, so a spreadsheet finds no formulas.
    """
    # References are texts of clients, so they are left out.
    writer = csv.DictWriter(_Echo(), COLUMNS, restval="", extrasaction="ignore")
    yield writer.writerow(dict(zip(COLUMNS, COLUMNS, strict=True)))
    yield writer.writerow(opening)
    for movements in batches:
        yield "".join(
            writer.writerow(movement_line(one) | {"at": instants.write(one.created_at)})
            for one in movements
        )
    yield writer.writerow(closing)


class _Echo:
    """A file that returns each written line."""

    def write(self, line: str) -> str:
        return line

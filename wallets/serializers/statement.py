"""A statement as clients see it, and as a spreadsheet does."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rest_framework import serializers

from wallets.models.ledger import Movement
from wallets.serializers.fields import (
    AmountField,
    BalanceField,
    ChangeField,
    CountField,
    IdField,
    InstantField,
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
]


class AttemptField(serializers.IntegerField):
    """The number of an attempt; null for the 0 that a deposit has."""

    def to_representation(self, value: Any) -> Any:
        return value or None


class MovementSerializer(serializers.Serializer):
    """A line of a statement.

    A settlement changes the balance by 0: the money left it when it was held. It is shown
    all the same, so that the numbers have no gaps and every payment is seen.
    """

    sequence = IdField(help_text="Its number in the wallet's statement, without gaps.")
    at = InstantField(source="created_at", help_text="When it happened.")
    kind = WordField(
        Movement.Kind.choices,
        help_text="A withdrawal's money is held when it is sent to the bank, then settled "
        "when the bank paid or released when it did not.",
    )
    transaction = IdField(
        source="transaction_id", help_text="The transaction it belongs to."
    )
    attempt = AttemptField(
        source="attempt_number",
        min_value=1,
        allow_null=True,
        help_text="Which attempt of the withdrawal; null for a deposit.",
    )
    amount = AmountField(help_text="What moved, in minor units.")
    change = ChangeField(
        help_text="What that did to the balance: 0 for a settlement, whose money left "
        "the balance when it was held."
    )
    balance_after = BalanceField(help_text="The balance once it had happened.")


class StatementSerializer(serializers.Serializer):
    """A page of a statement, and the balances of all of it."""

    wallet = WalletField(help_text="The wallet.")
    # The word itself is Python's: see `get_fields`.
    from_ = InstantField(allow_null=True, help_text="Where it begins, as asked for.")
    to = InstantField(allow_null=True, help_text="What it ends before, as asked for.")
    opening_balance = BalanceField(
        help_text="Before the first movement of all its pages."
    )
    closing_balance = BalanceField(
        help_text="After the last movement of all its pages."
    )
    movements = MovementSerializer(
        many=True, help_text="This page of them, oldest first."
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        return {name.rstrip("_"): field for name, field in fields.items()}


class BalanceSerializer(serializers.Serializer):
    """A wallet's balance at a moment."""

    wallet = WalletField(help_text="The wallet.")
    at = InstantField(help_text="The moment.")
    balance = BalanceField(help_text="What the wallet held then, in minor units.")
    sequence = CountField(help_text="The last movement counted; 0 before the first.")


def movement_line(movement: Movement) -> dict[str, Any]:
    """What `MovementSerializer` makes of a movement, for `strict_json.dumps`.

    A fraction of the work.
    """
    return {
        "sequence": movement.sequence,
        "at": movement.created_at,
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
        yield "".join(
            writer.writerow(movement_line(one) | {"at": instants.write(one.created_at)})
            for one in movements
        )
    yield writer.writerow(closing)


class _Echo:
    """A file that hands each line back to who writes it."""

    def write(self, line: str) -> str:
        return line

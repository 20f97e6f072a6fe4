"""Strict parsing of clients' input: orders, payments of the past, times.

Invalid input is refused and never guessed.
"""

import json
from datetime import datetime, timezone
from typing import Any, NoReturn

from store import Order

MAX_AMOUNT = 2**63 - 1  # The largest integer of SQLite.
MAX_TEXT = 255


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body; raises ``ValueError``."""

    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("the body names a field twice")
        return fields

    try:
        value = json.loads(body, object_pairs_hook=without_duplicates)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("the body must be JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")
    return value


def read_order(body: bytes, idempotency_key: str | None) -> Order:
    """Return the payment order in the body; raises ``ValueError``."""
    fields = read_object(body)
    amount = fields.get("amount")
    if type(amount) is not int or not 0 < amount <= MAX_AMOUNT:
        raise ValueError(f"amount must be a whole number from 1 to {MAX_AMOUNT}")
    wallet_uuid = _text("wallet_uuid", fields.get("wallet_uuid"))
    reference = fields.get("reference")
    if reference is not None:
        reference = _text("reference", reference)
    if idempotency_key is not None:
        key = _text("Idempotency-Key", idempotency_key.strip().strip('"'))
        if reference not in (None, key):
            raise ValueError("reference and Idempotency-Key differ")
        reference = key
    return Order(wallet_uuid, amount, reference)


def read_payments(body: bytes) -> list[tuple[Order, datetime]]:
    """Return payments in the form of the list, with times; raises ``ValueError``."""
    lines = read_object(body).get("payments")
    if not isinstance(lines, list) or not all(isinstance(one, dict) for one in lines):
        raise ValueError("payments must be a list of objects")
    return [
        (
            read_order(json.dumps(line).encode(), None),
            _moment("paid_at", str(line.get("paid_at"))),
        )
        for line in lines
    ]


def _text(name: str, value: Any) -> str:
    if (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TEXT
        and value.isprintable()  # Also False for half a surrogate pair.
    ):
        return value
    raise ValueError(f"{name} must be 1 to {MAX_TEXT} printable characters")


def instant(name: str, text: str | None) -> datetime | None:
    """Return the query parameter as a time, or None; raises ``ValueError``."""
    return _moment(name, text) if text else None


def _moment(name: str, text: str) -> datetime:
    """Return the time that the text names, in UTC; raises ``ValueError``."""
    try:
        moment = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
        return moment.astimezone(timezone.utc) if moment.tzinfo else _naive(name)
    except (ValueError, OverflowError):
        return _naive(name)


def _naive(name: str) -> NoReturn:
    raise ValueError(f"{name} must be a date and a time with an offset")

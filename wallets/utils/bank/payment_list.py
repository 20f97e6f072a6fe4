"""Reads the bank's list of payments. Changes nothing.

The list is untrusted, and may have lines of other systems. An unreadable field counts
as absent; only a body that is no list is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from wallets.errors import StatementUnavailable
from wallets.utils import instants
from wallets.utils.bank.connections import NotSent
from wallets.utils.bank.http_calls import DeadlineOver, Result
from wallets.utils.limits import UUID_PATTERN

# The limit from connecting to the last byte.
DEADLINE_SECONDS = 60.0
# About 190,000 payments. For more, ask for shorter periods.
MAX_BYTES = 32 * 1024 * 1024
MAX_TEXT = 100
_MAX_DIGITS = 40
_UUID = re.compile(UUID_PATTERN, re.I)


@dataclass(frozen=True)
class StatementLine:
    """One payment on the list; an absent or unreadable field is None.

    A reference or a wallet that is no UUID is kept as text, and is none of ours. The
    amount is in minor units.
    """

    reference: UUID | str | None
    wallet_uuid: UUID | str | None
    amount: int | None
    paid_at: datetime | None = None


def read(result: Result, *, limit: int, url: str) -> list[StatementLine]:
    """Read the list from the result of the call.

    `limit`: the most bytes. `url`: the address for messages, without credentials.

    :raises StatementUnavailable: no answer, or an answer that is no list of payments.
    """
    if isinstance(result, NotSent):
        raise StatementUnavailable(f"no answer from {url}: {result}") from result
    if isinstance(result, Exception):
        why = str(result) or type(result).__name__
        if isinstance(result, DeadlineOver):
            why = f"not whole after {DEADLINE_SECONDS:g} seconds"
        raise StatementUnavailable(f"no whole answer from {url}: {why}") from result
    if len(result.body) > limit:
        raise StatementUnavailable(f"{url} sent more than {limit} bytes")
    if result.status != 200:
        raise StatementUnavailable(f"{url} answered HTTP {result.status}")
    if result.encoding not in ("", "identity"):
        raise StatementUnavailable(f"{url} sent a packed body, which is not unpacked")
    try:
        return parse(result.body)
    except ValueError as error:
        raise StatementUnavailable(
            f"what {url} answered is no list of payments"
        ) from error


def parse(body: bytes) -> list[StatementLine]:
    """Read the list: a JSON array of objects.

    :raises ValueError: it is not such a list.
    """
    try:
        lines = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_ambiguous,
            parse_int=_whole_number,
        )
    except RecursionError:
        raise ValueError("it nests too deep") from None
    if type(lines) is not list or not all(type(line) is dict for line in lines):
        raise ValueError("not an array of objects")
    return [_line(line) for line in lines]


def _line(line: dict[str, Any]) -> StatementLine:
    amount = line.get("amount")
    return StatementLine(
        reference=_name(line.get("reference")),
        wallet_uuid=_name(line.get("wallet_uuid")),
        amount=amount if type(amount) is int else None,
        paid_at=_moment(line.get("paid_at")),
    )


def _name(value: Any) -> UUID | str | None:
    """Return the UUID, or any other value as a short text that databases can store."""
    if value is None:
        return None
    text = value if type(value) is str else json.dumps(value)
    if _UUID.fullmatch(text):
        return UUID(text)
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    return "".join(char if char.isprintable() else "�" for char in text)


def _moment(value: Any) -> datetime | None:
    try:
        return instants.parse(value) if type(value) is str else None
    except ValueError:
        return None


def _without_ambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields whose name occurs once."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)

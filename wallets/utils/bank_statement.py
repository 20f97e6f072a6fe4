"""Reads the bank's own list of what it paid, to compare the books with. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import urllib3

from wallets.errors import StatementUnavailable
from wallets.utils import strict_json
from wallets.utils.db import refuse_inside_transaction

TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class StatementLine:
    """One payment that the bank made. The reference is missing where it kept none."""

    reference: UUID | None
    wallet_uuid: UUID
    amount: int


def fetch_statement(base_url: str) -> list[StatementLine]:
    """Ask the bank for `GET /payments`, oldest first.

    :raises StatementUnavailable: no answer, or none that we understand.
    :raises InsideTransaction: when called inside a database transaction.
    """
    refuse_inside_transaction("the bank was asked for its statement")
    url = base_url.rstrip("/") + "/payments"
    try:
        response = urllib3.PoolManager().request(
            "GET", url, redirect=False, retries=False, timeout=TIMEOUT_SECONDS
        )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise StatementUnavailable(f"no answer: {type(error).__name__}") from error
    if response.status != 200:
        raise StatementUnavailable(f"the bank answered HTTP {response.status}")
    try:
        lines = strict_json.loads(response.data)
        if type(lines) is not list:
            raise ValueError("not a list")
        return [_line(line) for line in lines]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StatementUnavailable("its answer is not a list of payments") from error


def _line(line: dict[str, Any]) -> StatementLine:
    amount = line["amount"]
    if type(amount) is not int:
        raise ValueError("an amount that is no integer")
    reference = line["reference"]
    return StatementLine(
        UUID(reference) if reference is not None else None,
        UUID(line["wallet_uuid"]),
        amount,
    )

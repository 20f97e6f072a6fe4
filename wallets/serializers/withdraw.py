"""What a withdrawal's request says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wallets.serializers import strict

_FIELDS: dict[str, strict.Reader] = {
    "amount": strict.amount,
    "scheduled_for": strict.scheduled_for,
}


def read_withdrawal(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return amount and time. The balance is not judged now, but when the time has come.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _FIELDS)

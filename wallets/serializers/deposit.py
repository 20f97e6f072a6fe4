"""What a deposit's request says, alone or among many, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wallets.models.transaction import Transaction
from wallets.serializers import strict
from wallets.serializers.transaction import transaction_line

_ALONE: dict[str, strict.Reader] = {"amount": strict.amount}
_AMONG_MANY: dict[str, strict.Reader] = {
    "wallet": strict.wallet,
    "amount": strict.amount,
    "idempotency_key": strict.idempotency_key,
}


def read_amount(body: Mapping[str, Any]) -> int:
    """Return the amount that the request names.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _ALONE)["amount"]


def read_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return wallet, amount and key of one deposit among many, UUIDs as text.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(item, _AMONG_MANY)


def deposit_answer(deposit: Transaction) -> dict[str, Any]:
    """The wallet as the deposit left it, and the transaction that the service returned."""
    return {
        "wallet": {"uuid": str(deposit.wallet.uuid), "balance": deposit.balance_after},
        "transaction": transaction_line(deposit),
    }

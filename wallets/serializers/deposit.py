"""What a deposit's request says, alone or among many, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from wallets.models.transaction import Transaction
from wallets.serializers import strict
from wallets.serializers.strict import is_uuid
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


def read_plain_items(body: bytes) -> list[tuple[str, int, str]] | None:
    """Return wallet, amount and key of each item, if nothing at all is wrong with any.

    A fraction of the work of `strict_json` and `read_item`, which say what is wrong where
    this returns None. That no name stands twice is seen by its colon: three for each item,
    and there can be none in a UUID.
    """
    try:
        items = orjson.loads(body)
        plain = [
            (item["wallet"], item["amount"], item["idempotency_key"].lower())
            for item in items
        ]
        whole = (
            type(items) is list
            and body.count(b":") == 3 * len(items)
            and all(
                type(amount) is int and amount > 0 and is_uuid(wallet) and is_uuid(key)
                for wallet, amount, key in plain
            )
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return plain if whole else None


def deposit_answer(deposit: Transaction) -> dict[str, Any]:
    """The wallet as the deposit left it, and the transaction that the service returned."""
    return {
        "wallet": {"uuid": str(deposit.wallet.uuid), "balance": deposit.balance_after},
        "transaction": transaction_line(deposit),
    }

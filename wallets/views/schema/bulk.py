"""The shapes of many deposits in one request, and of their answers."""

from __future__ import annotations

from wallets.services.deposit import MAX_MANY
from wallets.views.catalogue import PROBLEMS
from wallets.views.schema.components import (
    SCHEMAS as COMMON,
)
from wallets.views.schema.components import (
    UUID_PATTERN,
    Schema,
    amount,
    exactly,
    one_of,
    problem,
    said,
    wallet_uuid,
)
from wallets.views.schema.operation import AMOUNT, KEY

CODES = (
    "item_invalid",
    "invalid_request",
    "unknown_field",
    *AMOUNT,
    "wallet_invalid",
    "wallet_not_found",
    *KEY,
    "balance_limit",
)

_KEY = said(
    {
        "type": "string",
        "pattern": UUID_PATTERN.replace("a-f", "A-Fa-f"),
    },
    "A UUID of your own for this deposit. The same item with it has one effect and one "
    "answer, also as a deposit of its own; another one with it is refused.",
)


def _problems() -> Schema:
    """Each status has codes of its own."""
    statuses = sorted({PROBLEMS[code].status for code in CODES})
    return {
        "oneOf": [
            problem([code for code in CODES if PROBLEMS[code].status == status], {})
            for status in statuses
        ]
    }


SCHEMAS: dict[str, Schema] = {
    "DepositItem": exactly(
        {
            "wallet": wallet_uuid(),
            "amount": amount("In minor units; an integer."),
            "idempotency_key": _KEY,
        }
    ),
    "DepositItems": {
        "type": "array",
        "items": {"$ref": "#/components/schemas/DepositItem"},
        "maxItems": MAX_MANY,
    },
    "DepositResult": {
        "oneOf": [
            exactly(
                {
                    "result": said(
                        one_of(["done", "replayed"]),
                        "Replayed: the key was used before, and this is its first answer.",
                    ),
                    **COMMON["Deposit"]["properties"],
                }
            ),
            exactly({"result": {"const": "refused"}, "problem": _problems()}),
        ]
    },
}

"""What the document says of one operation, and what many operations share."""

from __future__ import annotations

from dataclasses import dataclass, field

from wallets.views.parameters import MAX_LIMIT
from wallets.views.schema.components import Schema, said


@dataclass(frozen=True)
class Operation:
    """One method of one endpoint. `codes` are the problems it can answer with."""

    id: str
    tag: str
    summary: str
    description: str
    answer: Schema
    codes: tuple[str, ...]
    # Problems of single items, inside a successful answer.
    item_codes: tuple[str, ...] = ()
    status: int = 200
    request: str = ""
    takes_body: bool = False
    has_key: bool = False
    query: dict[str, Schema] = field(default_factory=dict)
    # Of a successful answer: name → whether it is always there.
    headers: dict[str, bool] = field(default_factory=dict)
    # Where to go from here: operation → its path parameters.
    links: dict[str, dict[str, str]] = field(default_factory=dict)
    csv: bool = False
    # Members that a problem may have besides the usual ones, by HTTP status.
    extra: dict[int, dict[str, Schema]] = field(default_factory=dict)


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


ANY = (
    "bad_request",
    "invalid_request",
    "parameter_unknown",
    "method_not_allowed",
    "not_acceptable",
    "internal_error",
)
STORED = (*ANY, "service_unavailable")
WALLET = (*STORED, "not_found", "wallet_not_found")
TRANSACTION = (*STORED, "not_found", "transaction_not_found")
QUERY = ("parameter_repeated", "parameter_invalid")
BODY = (
    "body_incomplete",
    "json_invalid",
    "unknown_field",
    "length_required",
    "content_too_large",
    "unsupported_media_type",
)
AMOUNT = ("required", "amount_invalid", "amount_too_large")
KEY = ("idempotency_key_invalid", "idempotency_key_reused")
MONEY = (
    *BODY,
    "body_required",
    *AMOUNT,
    *KEY,
    "request_in_progress",
)

LIMIT = said(
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50},
    "How many on one page.",
)
CURSOR = said(
    {"type": "string"}, "Where a page begins. Follow the URLs of `Link` as they are."
)
SELF = "$request.path.wallet_uuid"

"""The shapes of what is sent and answered, as JSON Schema. Nothing unknown is in them."""

from __future__ import annotations

from typing import Any

from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.utils import instants
from wallets.views.catalogue import PROBLEMS
from wallets.views.errors import MAX_ERRORS
from wallets.views.problems import body_of

Schema = dict[str, Any]

UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# What a request may name; an answer is always in UTC, with a Z.
INSTANT: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": f"^{instants.PATTERN}$",
}
_ANSWERED = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$"
ID: Schema = {
    "type": "integer",
    "format": "int64",
    "minimum": 1,
    "maximum": 2**63 - 1,
}
COUNT: Schema = {"type": "integer", "format": "int64", "minimum": 0}
FIELD_CODES = sorted(
    {problem.code for problem in PROBLEMS.values() if problem.status == 400}
    - {"bad_request", "invalid_request", "body_required", "body_incomplete"}
    - {"json_invalid", "invalid", "item_invalid", "too_many_items"}
)
# Problems of these are told in the same words whatever was sent.
SAY_THE_SAME = {404, 405, 406, 411, 413, 415, 500, 503}


def said(schema: Schema, text: str, *, null: bool = False) -> Schema:
    """The schema with a description; `null` admits null too."""
    if null:
        schema = schema | {"type": [schema["type"], "null"]}
    return schema | {"description": text}


def exactly(properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these members, all required but the optional ones, and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def one_of(values: list[str]) -> Schema:
    return {"type": "string", "enum": values}


def instant(text: str, *, null: bool = False) -> Schema:
    schema = {"type": "string", "format": "date-time", "pattern": _ANSWERED}
    return said(schema, text, null=null)


def wallet_uuid() -> Schema:
    schema = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
    return said(schema, "The wallet.")


def amount(text: str) -> Schema:
    money: Schema = {"type": "integer", "format": "int64", "maximum": MAX_MONEY}
    return said(money | {"minimum": 1}, text)


def balance(text: str) -> Schema:
    money: Schema = {"type": "integer", "format": "int64", "maximum": MAX_MONEY}
    return said(money | {"minimum": 0}, text)


_TRANSACTION = exactly(
    {
        "id": said(ID, "Unique in the service; it exists only below its wallet."),
        "wallet": wallet_uuid(),
        "amount": amount("In minor units."),
        "transaction_type": one_of(list(Transaction.TransactionType.values)),
        "status": said(
            one_of(list(Transaction.Status.values)),
            "A deposit is COMPLETED. A withdrawal is PENDING until its time, PROCESSING "
            "while its money is held, then COMPLETED or FAILED; CANCELLED when taken back.",
        ),
        "scheduled_for": instant("When a withdrawal is due.", null=True),
        "executed_at": instant("When the money began to move.", null=True),
        "created_at": instant("When it was requested."),
        "retry_count": COUNT | {"description": "Retries made after the first attempt."},
        "next_attempt_at": instant(
            "When a FAILED withdrawal is tried again; null when it is not.", null=True
        ),
        "failure_code": said(
            {
                "enum": [code for code in Transaction.FailureCode.values if code]
                + [None],
                "type": "string",
            },
            "Why it failed.",
            null=True,
        ),
        "needs_review": said(
            {"type": "boolean"},
            "Nobody knows whether the bank paid, and an operator finds out. The money "
            "stays held meanwhile.",
        ),
        "cancelable": said(
            {"type": "boolean"},
            "Whether it can be taken back now: while it is PENDING, or FAILED with another "
            "attempt to come.",
        ),
        "third_party_response": said(
            {"type": "string"},
            "What the bank answered about the last attempt, in its own documented words: a JSON "
            "object whose `data` is `success` or `failed`; or `Insufficient balance`, for "
            "which it was not asked. null while that is not known, or where the bank gave no "
            "such answer: `status` and `failure_code` say what became of it.",
            null=True,
        ),
        "idempotency_key": said(
            {"type": "string", "format": "uuid", "pattern": UUID_PATTERN},
            "The key that stands for this request: the client's, or ours where it sent "
            "none. Sent again with the same request, it does nothing twice.",
        ),
    }
)

_MOVEMENT = exactly(
    {
        "sequence": said(ID, "Its number in the wallet's statement, without gaps."),
        "at": instant("When it happened."),
        "kind": said(
            one_of(list(Movement.Kind.values)),
            "A withdrawal's money is held when it is sent to the bank, then settled when "
            "the bank paid or released when it did not.",
        ),
        "transaction": said(ID, "The transaction it belongs to."),
        "attempt": said(
            {"type": "integer", "minimum": 1},
            "Which attempt of the withdrawal; null for a deposit.",
            null=True,
        ),
        "amount": amount("What moved, in minor units."),
        "change": said(
            {
                "type": "integer",
                "format": "int64",
                "minimum": -MAX_MONEY,
                "maximum": MAX_MONEY,
            },
            "What that did to the balance: 0 for a settlement, whose money left the "
            "balance when it was held.",
        ),
        "balance_after": balance("The balance once it had happened."),
    }
)

_CHECKS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "`ok`, or what is wrong, for each part.",
}
_SWEEPS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["number", "null"]},
    "description": "Seconds since each sweep last ran.",
}
READINESS = {"checks": _CHECKS, "sweep_age_seconds": _SWEEPS}

SCHEMAS: dict[str, Schema] = {
    "Wallet": exactly(
        {
            "uuid": wallet_uuid(),
            "balance": balance("What may be spent now, in minor units."),
            "created_at": instant("When it was opened."),
        }
    ),
    "Transaction": _TRANSACTION,
    "DepositRequest": exactly({"amount": amount("In minor units; an integer.")}),
    "Deposit": exactly(
        {
            "wallet": exactly(
                {
                    "uuid": wallet_uuid(),
                    "balance": balance("The balance as this deposit left it."),
                }
            ),
            "transaction": {"$ref": "#/components/schemas/Transaction"},
        }
    ),
    "WithdrawRequest": exactly(
        {
            "amount": amount("In minor units; an integer. It may exceed the balance."),
            "scheduled_for": said(INSTANT, "A future time, with its offset."),
        }
    ),
    "Movement": _MOVEMENT,
    "Statement": exactly(
        {
            "wallet": wallet_uuid(),
            "from": instant("Where it begins, as asked for.", null=True),
            "to": instant("What it ends before, as asked for.", null=True),
            "opening_balance": balance("Before the first movement of all its pages."),
            "closing_balance": balance("After the last movement of all its pages."),
            "movements": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Movement"},
                "maxItems": 100,
                "description": "This page of them, oldest first.",
            },
        }
    ),
    "Balance": exactly(
        {
            "wallet": wallet_uuid(),
            "at": instant("The moment."),
            "balance": balance("What the wallet held then, in minor units."),
            "sequence": COUNT
            | {"description": "The last movement counted; 0 before the first."},
        }
    ),
    "Alive": exactly({"status": {"const": "ok"}}),
    "Ready": exactly({"status": one_of(["ok", "degraded"]), **READINESS}),
    "FieldError": exactly(
        {
            "field": said(
                {"type": "string", "maxLength": 100},
                "The field, query parameter or header.",
            ),
            "code": one_of(FIELD_CODES),
            "detail": said({"type": "string"}, "A sentence for people."),
        }
    ),
}


def problem(codes: list[str], extra: dict[str, Schema]) -> Schema:
    """A problem of one of these codes, which share an HTTP status. `extra` may be there."""
    statuses = {PROBLEMS[code].status for code in codes}
    (status,) = statuses
    schema = exactly(
        {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "enum": [f"/problems/{code}" for code in codes],
            },
            "title": one_of([PROBLEMS[code].title for code in codes]),
            "status": {"const": status},
            "code": one_of(codes),
            "detail": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/FieldError"},
                "maxItems": MAX_ERRORS,
            },
            **extra,
        },
        optional=tuple(extra),
    )
    if status in SAY_THE_SAME and not extra:
        schema["examples"] = [body_of(code) for code in codes]
    return schema

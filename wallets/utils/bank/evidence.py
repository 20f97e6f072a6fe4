"""What the bank's answers prove: a table for each call, and its reader. Pure.

docs/bank.md has the same tables; a test compares them. Any other answer proves nothing:
the outcome stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from wallets.utils import strict_json
from wallets.utils.bank.http_exchange import MAX_BODY_BYTES, HttpAnswer
from wallets.utils.bank.interface import Outcome, Payment


class Call(Enum):
    """The kind of the call."""

    PAYMENT = "payment"
    LOOK_UP = "look-up"


@dataclass(frozen=True)
class Word:
    """A documented answer: its HTTP statuses, its two fields, and what it proves.

    `echo`: it counts only with our reference.
    """

    http: frozenset[int]
    data: str
    status: int
    proves: Outcome
    echo: bool = False


_OK = frozenset({200})
WORDS = {
    Call.PAYMENT: (
        Word(_OK, "success", 200, Outcome.ACCEPTED),
        Word(_OK | {503}, "failed", 503, Outcome.REJECTED),
    ),
    # A failed look-up proves nothing about the payment, and its body equals that of a
    # refused payment. So a look-up's answer must name the payment.
    Call.LOOK_UP: (
        Word(_OK, "success", 200, Outcome.ACCEPTED, echo=True),
        Word(_OK, "failed", 503, Outcome.REJECTED, echo=True),
        Word(frozenset({404}), "unknown", 404, Outcome.NOT_FOUND),
    ),
}


@dataclass(frozen=True)
class Reading:
    """What an answer proves, and whether it named our reference."""

    outcome: Outcome
    echoed: bool


NOTHING = Reading(Outcome.UNKNOWN, echoed=False)


def read(call: Call, answer: HttpAnswer, payment: Payment) -> Reading:
    """Return what the answer to this call proves about this payment."""
    body = _object_in(answer)
    if body is None:
        return NOTHING
    data, status = body.pop("data", None), body.pop("status", None)
    if type(status) is not int or not _is_about(payment, body):
        return NOTHING
    echoed = "reference" in body
    if answer.followed and not echoed:
        return NOTHING  # two answers: it is unknown which one is ours
    for word in WORDS[call]:
        said = answer.status in word.http and (data, status) == (word.data, word.status)
        if said and (echoed or not word.echo):
            return Reading(word.proves, echoed)
    return NOTHING


def _object_in(answer: HttpAnswer) -> dict[str, Any] | None:
    """Return the JSON object of the answer; None for a page of a proxy, for example."""
    if answer.media_type != "application/json" or len(answer.body) > MAX_BODY_BYTES:
        return None
    try:
        body = strict_json.loads(answer.body)
    except strict_json.NotStrictJSON:
        return None
    return body if type(body) is dict else None


def _is_about(payment: Payment, echo: dict[str, Any]) -> bool:
    """Whether all other fields are those of our request.

    An answer about another payment, or with unknown fields, proves nothing.
    """
    ours = {
        "reference": str(payment.reference),
        "wallet_uuid": str(payment.wallet_uuid),
        "amount": payment.amount,
    }
    return all(
        key in ours and type(value) is type(ours[key]) and value == ours[key]
        for key, value in echo.items()
    )

"""What the bank's answers prove: a table for each call, and what reads it. Pure.

docs/bank.md shows the same tables, with what each kind of bank can prove; a test keeps
both equal. What stands in none of them proves nothing: the outcome stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from wallets.utils import strict_json
from wallets.utils.bank.http_exchange import MAX_BODY_BYTES, HttpAnswer
from wallets.utils.bank.interface import Outcome, Payment


class Call(Enum):
    """What the bank was asked."""

    PAYMENT = "payment"
    LOOK_UP = "look-up"


@dataclass(frozen=True)
class Word:
    """A documented answer: under which HTTP statuses, with which two fields, what it
    proves. `echo` says that it counts only with our reference in it."""

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
    # A look-up that fails says nothing about the payment. Its failure looks like the
    # refusal of a payment, word for word, so it must name the payment that it is about.
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
    """Say what the answer to this call proves about this payment."""
    body = _object_in(answer)
    if body is None:
        return NOTHING
    data, status = body.pop("data", None), body.pop("status", None)
    if type(status) is not int or not _is_about(payment, body):
        return NOTHING
    echoed = "reference" in body
    if answer.followed and not echoed:
        return NOTHING  # of two answers, nothing says which one is ours
    for word in WORDS[call]:
        said = answer.status in word.http and (data, status) == (word.data, word.status)
        if said and (echoed or not word.echo):
            return Reading(word.proves, echoed)
    return NOTHING


def _object_in(answer: HttpAnswer) -> dict[str, Any] | None:
    """The JSON object in the answer. A page of some proxy or framework has none."""
    if answer.media_type != "application/json" or len(answer.body) > MAX_BODY_BYTES:
        return None
    try:
        body = strict_json.loads(answer.body)
    except strict_json.NotStrictJSON:
        return None
    return body if type(body) is dict else None


def _is_about(payment: Payment, echo: dict[str, Any]) -> bool:
    """Whether all that it says beside the verdict is what we asked for.

    An answer about something else, or with words that we do not know, is none.
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

"""Which of the bank's words clients are shown: the documented ones, and no others.

What an operator wrote, what a socket said, a page of some proxy: all of it is evidence for
people who run the service, and nobody else's business.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from wallets.utils import strict_json

# Ours, and the specification's: the bank was not asked.
INSUFFICIENT_BALANCE = "Insufficient balance"

_VERDICTS = (("success", 200), ("failed", 503))
_ECHOES = {"reference": str, "wallet_uuid": str, "amount": int}


def documented(text: str) -> str:
    """Return the text if it is an answer that the bank's documentation has, else "".

    That is a JSON object with `data` and `status` of a documented answer, and nothing else
    but an echo of the request.
    """
    if text in ("", INSUFFICIENT_BALANCE):
        return text
    try:
        body = strict_json.loads(text.encode("utf-8", "replace"))
    except strict_json.NotStrictJSON:
        return ""
    return text if _is_documented(body) else ""


def _is_documented(body: Any) -> bool:
    if type(body) is not dict:
        return False
    data, status = body.pop("data", None), body.pop("status", None)
    if type(status) is not int or (data, status) not in _VERDICTS:
        return False
    return all(_is_echo(name, value) for name, value in body.items())


def _is_echo(name: str, value: Any) -> bool:
    if name not in _ECHOES or type(value) is not _ECHOES[name]:
        return False
    if _ECHOES[name] is int:
        return True
    try:
        return str(UUID(str(value))) == value
    except ValueError:
        return False

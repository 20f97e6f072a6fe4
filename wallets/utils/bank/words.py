"""Which of the bank's texts clients see: only the documented ones.

Other evidence (an operator's text, an error of a socket, a page of a proxy) is only for
the operators.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from wallets.utils import strict_json

# A text of the specification, written by the service: the bank was not called.
INSUFFICIENT_BALANCE = "Insufficient balance"

_VERDICTS = (("success", 200), ("failed", 503))
_ECHOES = {"reference": str, "wallet_uuid": str, "amount": int}


def documented(text: str) -> str:
    """Return the text if it is a documented answer of the bank, else "".

    Such an answer is a JSON object with documented values of `data` and `status`; other
    fields may only repeat the request.
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

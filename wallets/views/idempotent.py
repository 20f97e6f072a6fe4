"""The Idempotency-Key header, and the mark of an answer that was given before."""

from __future__ import annotations

import re
import uuid

from rest_framework.request import Request

from wallets.errors import InvalidIdempotencyKey
from wallets.models.transaction import Transaction

HEADER = "Idempotency-Key"
_META = "HTTP_IDEMPOTENCY_KEY"
REPLAYED = {"Idempotent-Replayed": "true"}
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_KEY = re.compile(rf'("?)({_UUID})\1', re.I)


def key_of(request: Request) -> uuid.UUID | None:
    """Return the key that the client sent, None where it sent none.

    :raises InvalidIdempotencyKey: see `parse`; and for a header that looks like the key's
        and is not: ignored, its sender would believe that a repeated request is safe.
    """
    for name in request.META:
        if "IDEMPOTEN" in name and name != _META and name.startswith("HTTP_"):
            header = name[5:].replace("_", "-").title()
            raise InvalidIdempotencyKey(
                f"The header {header} means nothing here. Send {HEADER}.", field=header
            )
    sent = request.META.get(_META)
    return None if sent is None else parse(sent)


def parse(sent: str) -> uuid.UUID:
    """Return the key that the header names.

    A UUID, bare or as a quoted structured-field string (RFC 9651), in either case. The
    header sent twice arrives joined by a comma and is refused with the rest.

    :raises InvalidIdempotencyKey: for anything else.
    """
    match = _KEY.fullmatch(sent)
    if match is None:
        raise InvalidIdempotencyKey("Send one UUID, bare or quoted.", field=HEADER)
    return uuid.UUID(match[2])


def headers_of(transaction: Transaction, key: uuid.UUID | None) -> dict[str, str]:
    """The header that tells a replay from a first answer."""
    # Without a key of the client's a "replay" is our own repeat after a lost COMMIT
    # reply: for the client it is the first answer.
    if key is not None and transaction.replayed:
        return REPLAYED
    return {}

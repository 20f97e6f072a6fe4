"""The Idempotency-Key header, and the mark of an answer that was given before."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Protocol

from wallets.errors import InvalidIdempotencyKey
from wallets.utils.limits import UUID_PATTERN
from wallets.views.http.request import NO_HEADERS, Request

HEADER = "Idempotency-Key"
_NAME = HEADER.lower()
_REPLAYED = {"Idempotent-Replayed": "true"}
_KEY = re.compile(rf'("?)({UUID_PATTERN})\1', re.I)


class Repeatable(Protocol):
    """What a service has made, now or when it was asked the first time."""

    @property
    def replayed(self) -> bool:
        """Whether it was made before."""


def key_of(request: Request) -> uuid.UUID | None:
    """Return the key that the client sent, None where it sent none.

    A UUID, bare or as a quoted structured-field string (RFC 9651), in either case. The
    header sent twice arrives joined by a comma and is refused with the rest.

    :raises InvalidIdempotencyKey: for anything else; and for a header that looks like the
        key's and is not: ignored, its sender would believe that a repeated request is
        safe.
    """
    for name in request.headers:
        if "idempoten" in name and name != _NAME:
            header = name.title()
            raise InvalidIdempotencyKey(
                f"The header {header} means nothing here. Send {HEADER}.", field=header
            )
    sent = request.headers.get(_NAME)
    if sent is None:
        return None
    match = _KEY.fullmatch(sent)
    if match is None:
        raise InvalidIdempotencyKey("Send one UUID, bare or quoted.", field=HEADER)
    return uuid.UUID(match[2])


def headers_of(made: Repeatable, key: uuid.UUID | None) -> Mapping[str, str]:
    """The header that tells a replay from a first answer."""
    # Without a key of the client's a "replay" is our own repeat after a lost COMMIT
    # reply: for the client it is the first answer.
    return _REPLAYED if key is not None and made.replayed else NO_HEADERS

"""The Idempotency-Key header, and the mark of a replay."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Mapping

from wallets.errors import InvalidIdempotencyKey
from wallets.utils.limits import UUID_PATTERN
from wallets.views.http.request import NO_HEADERS, Request

HEADER = "Idempotency-Key"
_NAME = HEADER.lower()
_REPLAYED = {"Idempotent-Replayed": "true"}
_KEY = re.compile(rf'("?)({UUID_PATTERN})\1', re.I)


def key_of(request: Request) -> uuid.UUID | None:
    """Return the key that the client sent, or None. As `text_of`.

    :raises InvalidIdempotencyKey: see there.
    """
    text = text_of(request)
    return None if text is None else uuid.UUID(text)


def text_of(request: Request) -> str | None:
    """Return the key that the client sent, as canonical text, or None.

    A UUID, bare or as a quoted structured-field string (RFC 9651), in either case. A
    header that is sent twice is joined by a comma, and refused.

    :raises InvalidIdempotencyKey: anything else; also a header with a similar name: if
        it were ignored, its sender would believe that a repeated request is safe.
    """
    for name in request.headers:
        if name != _NAME and resembles_key(name):
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
    return match[2].lower()


@functools.lru_cache(maxsize=256)
def resembles_key(name: str) -> bool:
    """Whether a header of this name (lower case) is the key, or meant to be."""
    return "idempot" in name.replace("-", "").replace("_", "")


def headers_of(key: uuid.UUID | str | None, *, replayed: bool) -> Mapping[str, str]:
    """Return the header that marks a replay."""
    # Without a client's key a "replay" is our own retry after a lost COMMIT reply; for
    # the client it is the first answer.
    return _REPLAYED if key is not None and replayed else NO_HEADERS

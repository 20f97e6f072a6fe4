"""Instants in the form of RFC 3339: read strictly, written in UTC."""

from __future__ import annotations

import functools
import re
from datetime import datetime, timezone

PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_INSTANT = re.compile(PATTERN)
_SECONDS = len("2026-02-17T12:00:00")


def parse(text: str) -> datetime:
    """Return the instant in UTC. Of a fraction six digits count (Go sends nine).

    :raises ValueError: no date, time or offset; or no such time, as a leap second.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("not an instant of RFC 3339")
    fraction = (match[1] or ".").ljust(7, "0")[:7]
    offset = match[2].upper().replace("Z", "+00:00")
    try:
        found = datetime.fromisoformat(f"{text[:_SECONDS].upper()}{fraction}{offset}")
        return found.astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError("beyond the years 1 to 9999 in UTC") from error


@functools.lru_cache(maxsize=1024)
def write(instant: datetime) -> str:
    """Return the instant in UTC with a Z, the form of every answer.

    Cached, because the deposits of a request share their time.
    """
    return instant.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")

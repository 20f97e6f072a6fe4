"""Instants as RFC 3339 writes them: read strictly, written in UTC."""

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
    """Return the instant. No leap second; of a fraction six digits count, as Go sends nine.

    :raises ValueError: without a date, a time and an offset, or where no such time is.
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
    """Return the instant as every answer has it: in UTC, with a Z.

    Kept, because the deposits of one request share theirs.
    """
    return instant.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")

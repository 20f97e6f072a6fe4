"""Query parameters: an unknown, repeated or malformed one is refused.

Django's own reading is not used: it takes bytes that are no UTF-8 for U+FFFD, so a filter
would find what the client has not named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes
from uuid import UUID

from django.conf import settings

from wallets.models.base import MAX_MONEY
from wallets.utils import instants
from wallets.utils.limits import UUID_PATTERN
from wallets.views.problems.problem_response import FieldError, RequestRefused

# Parameters that tools send for other frameworks. They have no effect here.
IGNORED = frozenset({"format", "_method"})

_LIMIT = re.compile(r"[1-9][0-9]{0,2}")
MAX_LIMIT = 100
_UUID = re.compile(UUID_PATTERN)
_MONEY = re.compile(r"0|[1-9][0-9]{0,15}")

Parser = Callable[[str], Any]


def read(text: str, known: Mapping[str, Parser]) -> dict[str, Any]:
    """Return the parsed parameters that were sent.

    `text` is the query as transports have it: its bytes, each as a character of Latin-1.

    :raises RequestRefused: an unknown, repeated or malformed parameter, or too many.
    """
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, sent in _sent(text).items():
        if name in IGNORED:
            continue
        if name not in known:
            errors.append(_error(name, "parameter_unknown", "This is not known here."))
        elif len(sent) != 1:
            errors.append(_error(name, "parameter_repeated", "Send it once."))
        else:
            try:
                values[name] = known[name](_decoded(sent[0]))
            except ValueError as error:
                errors.append(_error(name, "parameter_invalid", str(error)))
    if errors:
        code = errors[0].code if len(errors) == 1 else "invalid_request"
        raise RequestRefused(code, errors=errors)
    return values


def _sent(text: str) -> dict[str, list[bytes]]:
    """Return the values of each name, in order, as bytes.

    A name that is no UTF-8 stays as it is in the URL, with its percent signs.
    """
    parts = [part for part in text.encode("latin-1").split(b"&") if part]
    if len(parts) > settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:
        raise RequestRefused("bad_request", "The URL has too many query parameters.")
    found: dict[str, list[bytes]] = {}
    for part in parts:
        coded, _, value = part.replace(b"+", b" ").partition(b"=")
        name = unquote_to_bytes(coded)
        try:
            known_as = name.decode()
        except UnicodeDecodeError:
            known_as = quote_from_bytes(name)
        found.setdefault(known_as, []).append(unquote_to_bytes(value))
    return found


def _decoded(value: bytes) -> str:
    """Return the text of a value.

    :raises ValueError: it is no UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("The value must be UTF-8, percent-encoded.") from None


def one_of(*choices: str) -> Parser:
    """Return a parser that accepts exactly these values."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"The value must be one of {', '.join(choices)}.")
        return text

    return parse


def instant(text: str) -> datetime:
    """Return the instant; it must have an offset.

    :raises ValueError: anything else.
    """
    try:
        return instants.parse(text)
    except ValueError:
        raise ValueError(
            "The value must be a time with an offset, such as 2026-02-17T12:00:00Z "
            "(in a URL, a + is written %2B)."
        ) from None


def money(text: str) -> int:
    """Return an amount of money, 0 to 10**15 minor units.

    :raises ValueError: anything else.
    """
    if not _MONEY.fullmatch(text) or int(text) > MAX_MONEY:
        raise ValueError(f"The value must be an integer from 0 to {MAX_MONEY}.")
    return int(text)


def uuid_of(text: str) -> UUID:
    """Return a UUID in canonical form.

    :raises ValueError: anything else.
    """
    if not _UUID.fullmatch(text):
        raise ValueError("The value must be a UUID, in lower case.")
    return UUID(text)


def check_order(parameters: Mapping[str, Any], start: str, end: str) -> None:
    """Refuse a range whose start is after its end.

    :raises RequestRefused: both were sent, and the first is later.
    """
    both = start in parameters and end in parameters
    if both and parameters[start] > parameters[end]:
        refuse(parameters, (start,), f"It must not be after {end!r}.")


def refuse(parameters: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Refuse these parameters, if one was sent.

    :raises RequestRefused: for the first of them.
    """
    for name in names:
        if name in parameters:
            error = _error(name, "parameter_invalid", why)
            raise RequestRefused("parameter_invalid", why, errors=[error])


def page_limit(text: str) -> int:
    """Return a page's length, 1 to 100.

    :raises ValueError: anything else.
    """
    if not _LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
        raise ValueError(f"The value must be an integer from 1 to {MAX_LIMIT}.")
    return int(text)


def _error(field: str, code: str, detail: str) -> FieldError:
    return FieldError(field[:100], code, detail)

"""JSON as money needs it: bounded, without duplicate names, without surprises."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

MAX_DEPTH = 16
# An amount has 16 digits. Python refuses more than 4,300 with an error of its own.
MAX_DIGITS = 40

# A string, also one that never ends: it matches wherever it began, so no text makes it
# look twice.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class NotStrictJSON(ValueError):
    """The text is not JSON as we take it; the message says why, for the sender."""


def dumps(data: Any) -> bytes:
    """Write an answer. UUIDs and instants may stand in it as they are.

    An instant is written as `instants.write` does, which is what serializers do: it must
    be in UTC, as all are that a database or a request has given us.
    """
    return orjson.dumps(data, option=orjson.OPT_UTC_Z)


def loads(body: bytes) -> Any:
    """Parse UTF-8 JSON (RFC 8259, and as RFC 7493 advises).

    Refused: duplicate names (which one counts?), NaN and Infinity (not JSON), nesting
    deeper than 16, NUL and lone surrogates in text (no database stores them all). An
    integer that no field can hold becomes an infinite float, which every field refuses.

    :raises NotStrictJSON: for each of these, and for what is not JSON at all.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJSON("The body is not UTF-8.") from None
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except NotStrictJSON:
        raise
    except (ValueError, RecursionError):
        raise NotStrictJSON("The body is not valid JSON.") from None
    if "\\u" in text:
        # Only an escape can make what UTF-8 and JSON's own grammar forbid.
        _check_text(value)
    return value


def _check_depth(text: str) -> None:
    """Count brackets outside strings: the parser itself recurses and would overflow."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    # Without escapes every second piece between quotes is a string.
    outside = _STRING.sub("", text) if "\\" in text else "".join(text.split('"')[::2])
    depth = 0
    for bracket in _BRACKET.findall(outside):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise NotStrictJSON(f"The body nests deeper than {MAX_DEPTH} levels.")


def _check_text(value: Any) -> None:
    """Look at every text, names included; the depth is bounded already."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise NotStrictJSON("The body has NUL or a lone surrogate in a text.")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotStrictJSON("The body names a field twice.")
    return result


def _no_constant(name: str) -> Any:
    raise NotStrictJSON(f"{name} is not JSON.")


def _parse_int(digits: str) -> int | float:
    # "-0" is kept apart from 0, as the float that it is elsewhere.
    if len(digits) > MAX_DIGITS or digits == "-0":
        return float(digits)
    return int(digits)


# Made once: `json.loads` would make one for each body.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates,
    parse_constant=_no_constant,
    parse_int=_parse_int,
)

"""Strict JSON: bounded, without duplicate names."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

MAX_DEPTH = 16
# An amount has at most 16 digits. Python itself refuses more than 4,300.
MAX_DIGITS = 40
# The most characters of a name that a message shows.
MAX_SHOWN = 100

# A string, also one without an end. It matches wherever it begins, so the time is
# linear.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class NotStrictJSON(ValueError):
    """The text is not strict JSON; the message tells the sender why."""


def dumps(data: Any) -> bytes:
    """Write an answer. UUIDs and instants may stand in it as they are.

    An instant is written as `instants.write` does, which is what serializers do: it must
    be in UTC, as all are that a database or a request has given us.
    """
    return orjson.dumps(data, option=orjson.OPT_UTC_Z)


def loads(body: bytes) -> Any:
    """Parse UTF-8 JSON (RFC 8259, restricted as RFC 7493 advises).

    Refused are duplicate names, NaN and Infinity, nesting deeper than MAX_DEPTH, and
    NUL and lone surrogates in text, which not every database stores. An integer with
    more than MAX_DIGITS digits becomes an infinite float, which every field refuses.

    :raises NotStrictJSON: for each of these, and for text that is not JSON.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJSON(f"The body is not UTF-8: byte {error.start + 1}.") from None
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except NotStrictJSON:
        raise
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise NotStrictJSON(f"The body is not valid JSON: {where}.") from None
    except (ValueError, RecursionError):
        raise NotStrictJSON("The body is not valid JSON.") from None
    if "\\u" in text:
        # Only an escape can produce these characters.
        _check_text(value)
    return value


def _check_depth(text: str) -> None:
    """Count brackets outside of strings, because the parser is recursive."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    # Without escapes every second part between quotes is a string.
    outside = _STRING.sub("", text) if "\\" in text else "".join(text.split('"')[::2])
    depth = 0
    for bracket in _BRACKET.findall(outside):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise NotStrictJSON(f"The body nests deeper than {MAX_DEPTH} levels.")


def _check_text(value: Any, name: str | None = None) -> None:
    """Check every text, names included; the depth is bounded already.

    `name`: that of the value, or of what it is in.
    """
    if isinstance(value, str):
        if not _is_storable(value):
            where = "a text" if name is None else f"the text of {_shown(name)}"
            raise NotStrictJSON(f"The body has NUL or a lone surrogate in {where}.")
    elif isinstance(value, dict):
        for own, item in value.items():
            if not _is_storable(own):
                raise NotStrictJSON("The body has NUL or a lone surrogate in a name.")
            _check_text(item, own)
    elif isinstance(value, list):
        for item in value:
            _check_text(item, name)


def _is_storable(text: str) -> bool:
    return not ("\0" in text or any("\ud800" <= char <= "\udfff" for char in text))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotStrictJSON(f"The body has the name {_shown(name)} twice.")
            seen.add(name)
    return result


def _shown(name: str) -> str:
    """Return a name as JSON, cut, without characters that cannot be seen."""
    cut = name[:MAX_SHOWN]
    return json.dumps(cut, ensure_ascii=not cut.isprintable())


def _no_constant(name: str) -> Any:
    raise NotStrictJSON(f"{name} is not JSON.")


def _parse_int(digits: str) -> int | float:
    # "-0" becomes a float, as in other languages, so that it differs from 0.
    if len(digits) > MAX_DIGITS or digits == "-0":
        return float(digits)
    return int(digits)


# Created once; `json.loads` would create one for each body.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates,
    parse_constant=_no_constant,
    parse_int=_parse_int,
)

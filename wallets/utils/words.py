"""The client's own words: references, descriptions, metadata; currencies, amounts. Pure.

Text must be printable: without control characters, line ends, and the invisible
characters that make one text look like another.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from iso4217 import Currency

# The codes that ISO 4217 lists today; and the digits of the minor unit of those that
# have one, which gold (XAU) and the code for tests (XTS) have not. The specification
# counts rials, the standard hundredths of them.
CODES = frozenset(currency.code for currency in Currency)
DIGITS = {
    currency.code: 0 if currency.code == "IRR" else currency.exponent
    for currency in Currency
    if currency.exponent is not None
}
MAX_REFERENCE = 255
MAX_DESCRIPTION = 255
MAX_REASON = 500
# Metadata: names, the length of a name, and the bytes of the canonical JSON text.
MAX_NAMES = 50
MAX_NAME = 64
MAX_METADATA = 4096


class Words(NamedTuple):
    """The words of a transaction; metadata as canonical JSON. "": none."""

    description: str = ""
    reference: str = ""
    metadata: str = ""


NO_WORDS = Words()


class NotAllowed(ValueError):
    """The words are not allowed; the message says why, `code` is for machines."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.code = code


def reference(value: object) -> str:
    """Return a reference: 1 to 255 printable characters, no space at either end.

    MySQL and MariaDB ignore spaces at the end, so they are refused on all engines.

    :raises NotAllowed: anything else.
    """
    if (
        type(value) is str
        and 0 < len(value) <= MAX_REFERENCE
        and value.isprintable()
        and value == value.strip()
    ):
        return value
    raise NotAllowed(
        f"The reference must be 1 to {MAX_REFERENCE} printable characters, without "
        "spaces at its ends.",
        "reference_invalid",
    )


def description(value: object) -> str:
    """Return a description: at most 255 printable characters.

    :raises NotAllowed: anything else.
    """
    if type(value) is str and len(value) <= MAX_DESCRIPTION and value.isprintable():
        return value
    raise NotAllowed(
        f"The description must be at most {MAX_DESCRIPTION} printable characters.",
        "description_invalid",
    )


def reason(value: object) -> str:
    """Return an operator's reason: 1 to 500 printable characters, not only spaces.

    :raises NotAllowed: anything else.
    """
    if (
        type(value) is str
        and value.strip()
        and len(value) <= MAX_REASON
        and value.isprintable()
    ):
        return value.strip()
    raise NotAllowed(
        f"The reason must be 1 to {MAX_REASON} printable characters.", "reason_invalid"
    )


def currency(value: object) -> str:
    """Return a currency: a code of ISO 4217 that has a minor unit, in upper case.

    :raises NotAllowed: anything else.
    """
    if type(value) is str and value in DIGITS:
        return value
    raise NotAllowed(
        "The currency must be a code of ISO 4217 that has a minor unit, in upper case.",
        "currency_invalid",
    )


def currency_code(value: object) -> str:
    """Return any code of ISO 4217: earlier releases made wallets of each.

    :raises NotAllowed: anything else.
    """
    return value if type(value) is str and value in CODES else currency(value)


def in_units(amount: int, currency: str) -> Decimal:
    """Return an amount of minor units in units of its currency: 1234.567.

    Whole, if the currency has no minor unit.
    """
    return Decimal(amount).scaleb(-DIGITS.get(currency, 0))


def money(amount: int, currency: str) -> str:
    """Return an amount of minor units for people: 1,234.567 KWD."""
    digits = DIGITS.get(currency, 0)
    return f"{in_units(amount, currency):,.{digits}f} {currency}".rstrip()


def metadata(value: object) -> str:
    """Return an object of texts as canonical JSON: sorted, without spaces; {} is "".

    :raises NotAllowed: no object; a name that is empty, too long or not printable; a
        value that is no printable text; too many names or bytes.
    """
    if type(value) is not dict:
        raise _bad_metadata("an object")
    if len(value) > MAX_NAMES:
        raise _bad_metadata(f"an object of at most {MAX_NAMES} names")
    for name, text in value.items():
        if not (type(name) is str and 0 < len(name) <= MAX_NAME and name.isprintable()):
            raise _bad_metadata(
                f"an object whose names have 1 to {MAX_NAME} printable characters"
            )
        if not (type(text) is str and text.isprintable()):
            raise _bad_metadata("an object whose values are printable texts")
    written = canonical(value) if value else ""
    if len(written.encode()) > MAX_METADATA:
        raise _bad_metadata(f"an object of at most {MAX_METADATA} bytes as JSON")
    return written


def _bad_metadata(what: str) -> NotAllowed:
    return NotAllowed(f"The metadata must be {what}.", "metadata_invalid")


def canonical(value: dict[str, Any]) -> str:
    """Return an object as canonical JSON text: sorted by name, without spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def metadata_of(stored: str) -> dict[str, str]:
    """Return stored metadata as an object."""
    return orjson.loads(stored) if stored else {}

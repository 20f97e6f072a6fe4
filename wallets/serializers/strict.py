"""The strict reading of a request's fields: form only.

A field has one JSON type and is never coerced; an unknown name is refused. The services
check the meaning of a value (how much is allowed, whether a time has passed).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from wallets.utils import instants, words
from wallets.utils.limits import UUID_PATTERN

# Returns the value, or raises `ValidationError`.
Reader = Callable[[Any], Any]

# Raises `TypeError` for what is no text.
is_uuid = re.compile(UUID_PATTERN).fullmatch
_KEY = re.compile(UUID_PATTERN, re.I)


def read_fields(
    body: Mapping[str, Any],
    readers: Mapping[str, Reader],
    optional: Mapping[str, Reader] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the value of each field that was sent; those of `readers` are required.

    :raises ValidationError: with every error of every field.
    """
    if body.keys() == readers.keys():
        with suppress(ValidationError):  # has only the first error
            return {name: read(body[name]) for name, read in readers.items()}
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, read in readers.items():
        if name not in body:
            errors[name] = [ErrorDetail("This field is required.", "required")]
            continue
        try:
            values[name] = read(body[name])
        except ValidationError as error:
            errors[name] = error.detail
    for name in (name for name in optional if name in body):
        try:
            values[name] = optional[name](body[name])
        except ValidationError as error:
            errors[name] = error.detail
    if len(body) > len(values):
        for name in body:
            if name not in readers and name not in optional:
                detail = ErrorDetail("This field is not known here.", "unknown_field")
                errors[name[:100]] = [detail]
    if errors:
        raise ValidationError(errors)
    return values


def read_no_fields(body: Mapping[str, Any]) -> None:
    """Check the body of a request without fields.

    :raises ValidationError: it has a field.
    """
    read_fields(body, {})


def amount(value: object) -> int:
    """Return an amount: a JSON integer. Not 1.0, 1e3, "100" or true."""
    if type(value) is not int:
        raise ValidationError("The amount must be an integer.", "amount_invalid")
    return value


def scheduled_for(value: object) -> datetime:
    """Return an instant in the form of RFC 3339: date, time and offset."""
    try:
        if type(value) is str:
            return instants.parse(value)
    except ValueError:
        pass
    raise ValidationError(
        "The time must have a date, a time and an offset, such as 2026-02-17T12:00:00Z.",
        "scheduled_for_invalid",
    )


def wallet(value: object) -> str:
    """Return a wallet's UUID: text in the canonical form, as in its path."""
    if type(value) is not str or is_uuid(value) is None:
        raise ValidationError(
            "Send the wallet's UUID, as text in lower case.", "wallet_invalid"
        )
    return value


def idempotency_key(value: object) -> str:
    """Return a client's key, in canonical form: a UUID in either case."""
    if type(value) is not str or _KEY.fullmatch(value) is None:
        raise ValidationError("Send one UUID, as text.", "idempotency_key_invalid")
    return value.lower()


def reference(value: object) -> str:
    """Return a reference: printable text without spaces at its ends."""
    return _allowed(words.reference, value)


def description(value: object) -> str:
    """Return a description: printable text."""
    return _allowed(words.description, value)


def currency(value: object) -> str:
    """Return a currency of ISO 4217."""
    return _allowed(words.currency, value)


def metadata(value: object) -> str:
    """Return metadata as canonical JSON text: a flat object of printable texts."""
    return _allowed(words.metadata, value)


def reason(value: object) -> str:
    """Return a reason: printable text."""
    return _allowed(words.reason, value)


def words_of(values: Mapping[str, str | None]) -> words.Words:
    """Return the words among the fields of a request for a transaction."""
    found = (values.get(name) or "" for name in words.Words._fields)
    return words.Words(*found)


def _allowed(check: Callable[[object], str], value: object) -> str:
    try:
        return check(value)
    except words.NotAllowed as refusal:
        raise ValidationError(str(refusal), refusal.code) from None


def word(name: str, *choices: str) -> Reader:
    """Return the reader of a field that has one of these values."""

    def read(value: object) -> str:
        if type(value) is str and value in choices:
            return value
        allowed = ", ".join(choices)
        raise ValidationError(f"Send one of {allowed}.", f"{name}_invalid")

    return read


def nullable(read: Reader) -> Reader:
    """Return the reader of a field that may be null."""
    return lambda value: None if value is None else read(value)

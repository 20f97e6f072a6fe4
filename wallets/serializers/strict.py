"""The strict layer of a request's fields: form only.

A field is of one JSON type and is never coerced; a name that is not known is refused.
What a value means (how much is allowed, whether a time has passed) the services judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from wallets.utils import instants


class StrictField(serializers.Field):
    """A required field that judges the JSON value itself, `null` included."""

    default_error_messages = {"required": "This field is required."}

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        if data is None:
            return False, data
        return super().validate_empty_values(data)

    def to_representation(self, value: Any) -> Any:
        return value


class AmountField(StrictField):
    """Money: a JSON integer. Not 1.0, not 1e3, not "100", not true."""

    default_error_messages = {"amount_invalid": "The amount must be an integer."}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("amount_invalid")
        return data


class ScheduledForField(StrictField):
    """An instant as RFC 3339 writes it: date, time and offset."""

    default_error_messages = {
        "scheduled_for_invalid": (
            "The time must have a date, a time and an offset, "
            "such as 2026-02-17T12:00:00Z."
        )
    }

    def to_internal_value(self, data: Any) -> datetime:
        if type(data) is not str:
            self.fail("scheduled_for_invalid")
        try:
            return instants.parse(data)
        except ValueError:
            self.fail("scheduled_for_invalid")


class StrictSerializer(serializers.Serializer):
    """A request's body. `check` is the way in."""

    def to_internal_value(self, data: Mapping[str, Any]) -> dict[str, Any]:
        errors: dict[str, Any] = {
            name[:100]: [ErrorDetail("This field is not known here.", "unknown_field")]
            for name in data
            if name not in self.fields
        }
        values: dict[str, Any] = {}
        try:
            values = super().to_internal_value(data)
        except ValidationError as error:
            found: Any = error.detail
            errors = {**found, **errors}
        if errors:
            raise ValidationError(errors)
        return values

    @classmethod
    def check(cls, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body's values.

        :raises ValidationError: with every error of every field.
        """
        serializer = cls(data=body)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class NoFields(StrictSerializer):
    """A body that may be sent empty: nothing is known in it."""

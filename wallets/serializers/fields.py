"""The kinds of fields of requests and answers.

A declaration is what drf-spectacular writes into the OpenAPI document: type, bounds,
description. A function of `serializers.strict` reads the form of a request's field. The
services check the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rest_framework import serializers

from wallets.models.base import MAX_MONEY
from wallets.serializers import strict
from wallets.utils import instants
from wallets.utils.limits import MAX_BIGINT

# Ids and numbers; counts; balances; changes of a balance.
IdField = partial(serializers.IntegerField, min_value=1, max_value=MAX_BIGINT)
CountField = partial(serializers.IntegerField, min_value=0, max_value=MAX_BIGINT)
BalanceField = partial(serializers.IntegerField, min_value=0, max_value=MAX_MONEY)
ChangeField = partial(
    serializers.IntegerField, min_value=-MAX_MONEY, max_value=MAX_MONEY
)


class AmountField(serializers.IntegerField):
    """The amount of one operation, in minor units."""

    to_internal_value = staticmethod(strict.amount)  # type: ignore[assignment]

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_MONEY, **options)


class InstantField(serializers.DateTimeField):
    """An instant; in answers in UTC, with a Z."""

    to_internal_value = staticmethod(strict.scheduled_for)

    def to_representation(self, value: Any) -> str:
        return instants.write(value)


class WalletField(serializers.UUIDField):
    """A wallet's UUID, in the canonical lower-case form."""

    to_internal_value = staticmethod(strict.wallet)  # type: ignore[assignment]


class KeyField(serializers.UUIDField):
    """An idempotency key; requests may use either case."""

    to_internal_value = staticmethod(strict.idempotency_key)  # type: ignore[assignment]


class WordField(serializers.ChoiceField):
    """One of these values in an answer. A later release may add values.

    The empty text of a row becomes null.
    """

    def to_representation(self, value: Any) -> Any:
        return value or None


class RequestSerializer(serializers.Serializer):
    """A request: exactly the declared fields, and all of them."""

    @classmethod
    def readers(cls) -> dict[str, strict.Reader]:
        """Return the function that reads each field, for `strict.read_fields`."""
        fields = cls().fields
        return {name: field.to_internal_value for name, field in fields.items()}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        return strict.read_fields(data, self.readers())

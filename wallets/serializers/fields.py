"""The kinds of fields of requests and answers.

A declaration is what drf-spectacular writes into the OpenAPI document: type, bounds,
description. A function of `serializers.strict` reads the form of a request's field. The
services check the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rest_framework import serializers

from wallets.models.base import MAX_MONEY
from wallets.serializers import strict
from wallets.utils import instants, words
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


class ReferenceField(serializers.CharField):
    """A reference: the client's own name of a thing."""

    to_internal_value = staticmethod(  # type: ignore[assignment]
        strict.nullable(strict.reference)
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(
            min_length=1, max_length=words.MAX_REFERENCE, allow_null=True, **options
        )

    def to_representation(self, value: Any) -> Any:
        return value or None


class CurrencyField(serializers.CharField):
    """A currency of ISO 4217."""

    to_internal_value = staticmethod(  # type: ignore[assignment]
        strict.nullable(strict.currency)
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=3, max_length=3, **options)


class DescriptionField(serializers.CharField):
    """A text for people."""

    to_internal_value = staticmethod(  # type: ignore[assignment]
        strict.nullable(strict.description)
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=words.MAX_DESCRIPTION, allow_null=True, **options)


class ReasonField(serializers.CharField):
    """Why an operator or a client does something."""

    to_internal_value = staticmethod(strict.reason)  # type: ignore[assignment]

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=1, max_length=words.MAX_REASON, **options)


class ChoiceField(serializers.ChoiceField):
    """One of these values in a request. `name`: that of the field.

    `component` is the name of the values in the OpenAPI document.
    """

    def __init__(self, name: str, choices: Sequence[str], **options: Any) -> None:
        super().__init__(choices, **options)
        self.component = name.title().replace("_", "")
        read = strict.word(name, *choices)
        if self.allow_null:
            read = strict.nullable(read)
        self.to_internal_value = read  # type: ignore[assignment,method-assign]


class MetadataField(serializers.DictField):
    """A flat object of texts; rows have it as canonical JSON text."""

    child = serializers.CharField(allow_blank=True)
    to_internal_value = staticmethod(  # type: ignore[assignment]
        strict.nullable(strict.metadata)
    )

    def to_representation(self, value: Any) -> Any:
        return words.metadata_of(value)


# The other side of a transfer, in a transaction or a movement.
TransferField = partial(
    serializers.UUIDField,
    source="counterparty.transfer",
    allow_null=True,
    help_text="The transfer of which this is one half; null for others.",
)
CounterpartyField = partial(
    serializers.UUIDField,
    source="counterparty.wallet",
    allow_null=True,
    help_text="The other wallet of the transfer; null for others.",
)
CorrectsField = partial(
    serializers.IntegerField,
    source="corrected",
    min_value=1,
    max_value=MAX_BIGINT,
    allow_null=True,
    help_text="The transaction of this wallet that a correction corrects; null for "
    "others.",
)
ReturnsField = partial(
    serializers.IntegerField,
    source="returned",
    min_value=1,
    max_value=MAX_BIGINT,
    allow_null=True,
    help_text="The withdrawal of this wallet whose payment the bank has returned; null "
    "for others.",
)
CounterpartyReferenceField = partial(
    serializers.CharField,
    source="counterparty.reference",
    allow_null=True,
    help_text="The reference that the other wallet has now, if any.",
)


class WordField(serializers.ChoiceField):
    """One of these values in an answer. A later release may add values.

    The empty text of a row becomes null.
    """

    def to_representation(self, value: Any) -> Any:
        return value or None


class WordsSerializer(serializers.Serializer):
    """The client's own words, in requests for transactions. All are optional."""

    description = DescriptionField(
        required=False, help_text="A text for people, also on the statement."
    )
    reference = ReferenceField(
        required=False, help_text="Your own name of it; others may have the same."
    )
    metadata = MetadataField(
        required=False,
        allow_null=True,
        help_text="Your own texts by name: at most 50 names and 4,096 bytes as JSON.",
    )


class KeywordNames(serializers.Serializer):
    """Members whose names are keywords of Python are declared with an underscore."""

    def get_fields(self) -> dict[str, Any]:
        """Return the fields by the names that they have in JSON: `from_` is `from`."""
        fields = super().get_fields()
        return {name.rstrip("_"): field for name, field in fields.items()}


class RequestSerializer(serializers.Serializer):
    """A request: exactly the declared fields, and all that are required."""

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, the required ones first."""
        fields = super().get_fields()
        return dict(sorted(fields.items(), key=lambda one: not one[1].required))

    @classmethod
    def readers(cls, *, required: bool = True) -> dict[str, strict.Reader]:
        """Return the functions that read the required, or the optional, fields."""
        return {
            name: field.to_internal_value
            for name, field in cls().fields.items()
            if field.required is required
        }

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        return strict.read_fields(data, self.readers(), self.readers(required=False))

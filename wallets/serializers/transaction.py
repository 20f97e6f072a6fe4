"""The transaction as clients see it: the same everywhere."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from wallets.models.transaction import Transaction


class TextOrNull(serializers.Field):
    """A text column, null where it has nothing to say."""

    def to_representation(self, value: Any) -> str | None:
        return value or None


class TransactionSerializer(serializers.Serializer):
    """A deposit or a withdrawal. The order of the keys is part of the contract."""

    id = serializers.IntegerField(read_only=True)
    wallet = serializers.UUIDField(source="wallet.uuid", read_only=True)
    amount = serializers.IntegerField(read_only=True)
    transaction_type = serializers.ChoiceField(
        choices=Transaction.TransactionType.choices, read_only=True
    )
    status = serializers.ChoiceField(choices=Transaction.Status.choices, read_only=True)
    scheduled_for = serializers.DateTimeField(read_only=True, allow_null=True)
    executed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)
    retry_count = serializers.IntegerField(read_only=True)
    next_attempt_at = serializers.DateTimeField(read_only=True, allow_null=True)
    failure_code = TextOrNull(read_only=True, allow_null=True)
    needs_review = serializers.BooleanField(read_only=True)
    cancelable = serializers.BooleanField(read_only=True)
    third_party_response = TextOrNull(read_only=True, allow_null=True)

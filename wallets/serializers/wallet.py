"""The wallet as clients see it."""

from rest_framework import serializers


class WalletSerializer(serializers.Serializer):
    """`balance` is what may be spent now, in minor units."""

    uuid = serializers.UUIDField(read_only=True)
    balance = serializers.IntegerField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

"""What a deposit's request says, and its answer."""

from rest_framework import serializers

from wallets.serializers.strict import AmountField, StrictSerializer
from wallets.serializers.transaction import TransactionSerializer


class DepositSerializer(StrictSerializer):
    """The request."""

    amount = AmountField()


class WalletBalanceSerializer(serializers.Serializer):
    """The wallet as a deposit left it."""

    uuid = serializers.UUIDField(source="wallet.uuid", read_only=True)
    balance = serializers.IntegerField(source="balance_after", read_only=True)


class DepositAnswerSerializer(serializers.Serializer):
    """The answer, made from the transaction that the service returns."""

    wallet = WalletBalanceSerializer(source="*", read_only=True)
    transaction = TransactionSerializer(source="*", read_only=True)

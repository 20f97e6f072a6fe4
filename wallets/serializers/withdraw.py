"""What a withdrawal's request says."""

from wallets.serializers.strict import AmountField, ScheduledForField, StrictSerializer


class WithdrawSerializer(StrictSerializer):
    """The request. The balance is not judged now, but when the time has come."""

    amount = AmountField()
    scheduled_for = ScheduledForField()

"""Events in answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from events.models.event import EventType
from events.services.content import EventRecord
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.serializers.fields import (
    AmountField,
    BalanceField,
    CountField,
    CurrencyField,
    IdField,
    InstantField,
    KeyField,
    KeywordNames,
    MetadataField,
    WalletField,
    WordField,
)


class TextsField(MetadataField):
    """Metadata that is an object already."""

    def to_representation(self, value: Any) -> Any:
        return value


class ChangedSerializer(serializers.Serializer):
    """What a change of a wallet has changed: only the members that differ."""

    reference = serializers.CharField(
        required=False, allow_null=True, help_text="The client's own name of it."
    )
    metadata = TextsField(required=False, help_text="Texts by name.")
    state = WordField(
        Wallet.State.choices, required=False, help_text="What it takes and gives."
    )


class EventDataSerializer(KeywordNames, ChangedSerializer):
    """What happened. Which members there are depends on the type of the event."""

    balance = BalanceField(
        required=False, help_text="`wallet.created`: the balance of the new wallet."
    )
    transaction = IdField(
        required=False,
        help_text="The id of the deposit, withdrawal, correction, or of the wallet's "
        "half of the transfer; of `withdrawal.returned`, that of the withdrawal.",
    )
    idempotency_key = KeyField(
        required=False, help_text="The idempotency key of its request."
    )
    amount = AmountField(required=False, help_text="In minor units.")
    sequence = IdField(
        required=False,
        allow_null=True,
        help_text="The number of the movement in the wallet's statement; null if no "
        "money moved.",
    )
    balance_after = BalanceField(
        required=False,
        allow_null=True,
        help_text="The wallet's balance after the movement; null if no money moved.",
    )
    scheduled_for = InstantField(
        required=False, help_text="When the withdrawal was planned for."
    )
    status = WordField(
        Transaction.Status.choices,
        required=False,
        help_text="The status of the withdrawal after the event.",
    )
    attempt = CountField(
        required=False,
        allow_null=True,
        help_text="The number of the attempt at the bank; null outside of an attempt.",
    )
    failure_code = WordField(
        [choice for choice in Transaction.FailureCode.choices if choice[0]],
        required=False,
        allow_null=True,
        help_text="Why the attempt or the withdrawal failed; null otherwise.",
    )
    actor = serializers.CharField(
        required=False,
        help_text="Who caused it: `client` or the name of the caller, `worker`, or an "
        "operator.",
    )
    transfer = serializers.UUIDField(required=False, help_text="The transfer.")
    from_ = WalletField(required=False, help_text="The wallet that paid.")
    to = WalletField(required=False, help_text="The wallet that got the money.")
    corrects = IdField(
        required=False, help_text="The transaction of the wallet that is corrected."
    )
    credit = IdField(
        required=False,
        help_text="`withdrawal.returned`: the transaction that has given the money back.",
    )
    return_reference = serializers.CharField(
        required=False,
        help_text="`withdrawal.returned`: what the bank calls the return.",
    )
    reason = serializers.CharField(
        required=False,
        allow_null=True,
        help_text="Why a wallet was changed, a transaction corrected, or a payment "
        "returned.",
    )
    change = IdField(
        required=False, help_text="The number of the change of the wallet."
    )
    before = ChangedSerializer(required=False, help_text="What was before it.")
    after = ChangedSerializer(required=False, help_text="What is after it.")
    currency = CurrencyField(
        required=False, help_text="`wallet.created`: the currency of the wallet."
    )


class EventSerializer(serializers.Serializer):
    """A change that was committed, and its place in the feed."""

    position = IdField(
        help_text="1, 2, 3 … without gaps. It never changes, and nothing is ever added "
        "at or before a position that was read."
    )
    id = serializers.UUIDField(
        help_text="Unique for ever, and made from what happened. Use it to recognise an "
        "event that you have processed."
    )
    type = WordField(EventType.choices, help_text="What happened.")
    wallet = WalletField(help_text="The wallet.")
    created_at = InstantField(
        help_text="When it happened. It may be earlier than that of the event before: "
        "the order is that of the positions."
    )
    data = EventDataSerializer(  # type: ignore[assignment]
        help_text="What happened, in detail."
    )


def event_line(record: EventRecord) -> dict[str, Any]:
    """Return the same as `EventSerializer`, faster, for `strict_json.dumps`."""
    return {
        "position": record.position,
        "id": record.id,
        "type": record.type,
        "wallet": record.wallet,
        "created_at": record.created_at,
        "data": record.data,
    }

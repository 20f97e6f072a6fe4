"""Requests and answers of transfers, alone or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rest_framework import serializers

from wallets.models.transfer import Transfer
from wallets.serializers import strict
from wallets.serializers.fields import (
    AmountField,
    BalanceField,
    IdField,
    InstantField,
    KeyField,
    KeywordNames,
    MetadataField,
    RequestSerializer,
    WalletField,
    WordField,
    WordsSerializer,
)
from wallets.serializers.problem import ProblemSerializer
from wallets.serializers.transaction import EmptyAsNullField
from wallets.utils.words import Words, metadata_of


class TransferRequestSerializer(KeywordNames, WordsSerializer, RequestSerializer):
    """A transfer to make."""

    from_ = WalletField(help_text="The wallet that pays.")
    to = WalletField(help_text="The wallet that gets the money: another one.")
    amount = AmountField(help_text="In minor units; an integer.")


class TransferItemSerializer(KeywordNames, WordsSerializer, RequestSerializer):
    """One transfer among many."""

    from_ = WalletField(help_text="The wallet that pays.")
    to = WalletField(help_text="The wallet that gets the money: another one.")
    amount = AmountField(help_text="In minor units; an integer.")
    idempotency_key = KeyField(
        help_text="A UUID of your own for this transfer. The same item with it has one "
        "effect and one answer, also as a single transfer; a different item with it is "
        "refused."
    )


class TransferSerializer(KeywordNames):
    """A transfer. It never changes."""

    id = serializers.UUIDField(source="uuid", help_text="The transfer.")
    from_ = WalletField(source="from_wallet.uuid", help_text="The wallet that paid.")
    to = WalletField(
        source="to_wallet.uuid", help_text="The wallet that got the money."
    )
    amount = AmountField(help_text="In minor units.")
    created_at = InstantField(help_text="When the money moved.")
    from_transaction = IdField(
        source="debit_id", help_text="Its transaction in the wallet that paid."
    )
    to_transaction = IdField(
        source="credit_id", help_text="Its transaction in the other wallet."
    )
    idempotency_key = KeyField(
        source="debit.idempotency_key",
        help_text="The idempotency key of the request: the client's, or one of ours if "
        "it sent none.",
    )
    description = EmptyAsNullField(
        source="debit.description",
        allow_null=True,
        help_text="The client's text for people.",
    )
    reference = EmptyAsNullField(
        source="debit.reference",
        allow_null=True,
        help_text="The client's own name of it; not unique.",
    )
    metadata = MetadataField(
        source="debit.metadata",
        help_text="Texts by name, as the client sent them.",
    )


class PayingWalletSerializer(serializers.Serializer):
    """The wallet that paid, after the transfer."""

    uuid = WalletField(source="request.from_wallet", help_text="The wallet that paid.")
    balance = BalanceField(
        source="balance_after", help_text="Its balance after this transfer."
    )


class TransferDoneSerializer(serializers.Serializer):
    """A transfer that was made, with the wallet that paid."""

    wallet = PayingWalletSerializer(source="*")
    transfer = TransferSerializer()


class TransferResultSerializer(serializers.Serializer):
    """The result of one transfer among many."""

    result = WordField(
        ["done", "replayed", "refused"],
        help_text="`refused` comes with `problem`, the others with `wallet` and "
        "`transfer`. `replayed`: the key was used before, and this is its first answer.",
    )
    wallet = PayingWalletSerializer(required=False)
    transfer = TransferSerializer(required=False)
    problem = ProblemSerializer(required=False)


_ALONE = TransferRequestSerializer.readers()
_AMONG_MANY = TransferItemSerializer.readers()
_WORDS = TransferRequestSerializer.readers(required=False)


def read_transfer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `from`, `to`, `amount` and words of the request; UUIDs as text.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _ALONE, _WORDS)


def read_transfer_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same of one item, and its `idempotency_key`.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(item, _AMONG_MANY, _WORDS)


def transfer_line(
    transfer: Transfer, from_wallet: UUID, to_wallet: UUID, key: UUID, words: Words
) -> dict[str, Any]:
    """Return the same as `TransferSerializer`, faster, for `strict_json.dumps`."""
    return {
        "id": transfer.uuid,
        "from": from_wallet,
        "to": to_wallet,
        "amount": transfer.amount,
        "created_at": transfer.created_at,
        "from_transaction": transfer.debit_id,
        "to_transaction": transfer.credit_id,
        "idempotency_key": key,
        "description": words.description or None,
        "reference": words.reference or None,
        "metadata": metadata_of(words.metadata),
    }

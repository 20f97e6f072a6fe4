"""Wallets in requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from wallets.models.wallet import Wallet
from wallets.serializers import strict
from wallets.serializers.fields import (
    BalanceField,
    ChoiceField,
    CurrencyField,
    InstantField,
    MetadataField,
    ReasonField,
    ReferenceField,
    RequestSerializer,
    WalletField,
    WordField,
)
from wallets.utils.words import metadata_of

# What can be frozen.
DIRECTIONS = ("in", "out", "both")
_REFERENCE = "Your own name of the wallet; no other wallet has it."
_METADATA = (
    "Your own texts by name: at most 50 names and 4,096 bytes as JSON. They are sorted "
    "by name."
)


class WalletSerializer(serializers.Serializer):
    """A wallet."""

    uuid = WalletField(help_text="The wallet.")
    balance = BalanceField(help_text="The money that can be spent now, in minor units.")
    created_at = InstantField(help_text="When it was created.")
    held = BalanceField(
        help_text="The money that is on its way to the bank, in minor units. It is not "
        "part of the balance."
    )
    currency = CurrencyField(help_text="ISO 4217. It never changes.")
    state = WordField(
        Wallet.State.choices,
        help_text="`frozen_in` takes no money, `frozen_out` gives none, `frozen` does "
        "neither; `closed` is final.",
    )
    reference = ReferenceField(help_text=_REFERENCE)
    metadata = MetadataField(help_text=_METADATA)


class WalletRequestSerializer(RequestSerializer):
    """A wallet to create. Every field is optional, and may be null."""

    reference = ReferenceField(required=False, help_text=_REFERENCE)
    currency = CurrencyField(
        required=False,
        allow_null=True,
        help_text="ISO 4217; default: the currency of the service.",
    )
    metadata = MetadataField(required=False, allow_null=True, help_text=_METADATA)


class WalletChangeRequestSerializer(RequestSerializer):
    """What to change of a wallet. What is not sent stays as it is."""

    reference = ReferenceField(
        required=False, help_text=f"{_REFERENCE} null removes it."
    )
    metadata = MetadataField(
        required=False,
        allow_null=True,
        help_text=f"{_METADATA} They replace all earlier ones; null removes them.",
    )


class FreezeRequestSerializer(RequestSerializer):
    """What to freeze, or to unfreeze, and why."""

    direction = ChoiceField(
        "direction",
        DIRECTIONS,
        help_text="What comes in, what goes out, or both.",
    )
    reason = ReasonField(help_text="Why; it is kept in the wallet's history.")


class CloseRequestSerializer(RequestSerializer):
    """Why the wallet is closed."""

    reason = ReasonField(help_text="Why; it is kept in the wallet's history.")


_FREEZE = FreezeRequestSerializer.readers()
_CLOSE = CloseRequestSerializer.readers()
_NEW = WalletRequestSerializer.readers(required=False)
_CHANGE = WalletChangeRequestSerializer.readers(required=False)


def read_wallet(body: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields of a wallet to create; metadata as canonical JSON.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, {}, _NEW)


def read_wallet_change(body: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields to change; metadata as canonical JSON.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, {}, _CHANGE)


def read_freeze(body: Mapping[str, Any]) -> dict[str, str]:
    """Return direction and reason.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _FREEZE)


def read_close(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the reason.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _CLOSE)


def wallet_line(wallet: Wallet) -> dict[str, Any]:
    """Return the same as `WalletSerializer`, faster, for `strict_json.dumps`."""
    return {
        "uuid": wallet.uuid,
        "balance": wallet.balance,
        "created_at": wallet.created_at,
        "held": wallet.held,
        "currency": wallet.currency,
        "state": wallet.state,
        "reference": wallet.reference,
        "metadata": metadata_of(wallet.metadata),
    }

"""Requests and answers of deposits, alone or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework import serializers

from wallets.serializers import strict
from wallets.serializers.fields import (
    AmountField,
    BalanceField,
    KeyField,
    RequestSerializer,
    WalletField,
    WordField,
    WordsSerializer,
)
from wallets.serializers.problem import ProblemSerializer
from wallets.serializers.strict import is_uuid
from wallets.serializers.transaction import TransactionSerializer
from wallets.utils.words import NO_WORDS, Words


class DepositRequestSerializer(WordsSerializer, RequestSerializer):
    """A deposit to make."""

    amount = AmountField(help_text="In minor units; an integer.")


class DepositItemSerializer(WordsSerializer, RequestSerializer):
    """One deposit among many."""

    wallet = WalletField(help_text="The wallet, in the canonical lower-case form.")
    amount = AmountField(help_text="In minor units; an integer.")
    idempotency_key = KeyField(
        help_text="A UUID of your own for this deposit. The same item with it has one "
        "effect and one answer, also as a single deposit; a different item with it is "
        "refused."
    )


class DepositedWalletSerializer(serializers.Serializer):
    """The wallet after the deposit."""

    uuid = WalletField(source="request.wallet_uuid", help_text="The wallet.")
    balance = BalanceField(
        source="balance_after", help_text="The balance after this deposit."
    )


class DepositSerializer(serializers.Serializer):
    """A deposit that was made, with its wallet."""

    wallet = DepositedWalletSerializer(source="*")
    transaction = TransactionSerializer()


class DepositResultSerializer(serializers.Serializer):
    """The result of one deposit among many."""

    result = WordField(
        ["done", "replayed", "refused"],
        help_text="`refused` comes with `problem`, the others with `wallet` and "
        "`transaction`. `replayed`: the key was used before, and this is its first answer.",
    )
    wallet = DepositedWalletSerializer(required=False)
    transaction = TransactionSerializer(required=False)
    problem = ProblemSerializer(required=False)


_ALONE = DepositRequestSerializer.readers()
_AMONG_MANY = DepositItemSerializer.readers()
_WORDS = DepositRequestSerializer.readers(required=False)


def read_deposit(body: Mapping[str, Any]) -> tuple[int, Words]:
    """Return the amount of the request, and its words.

    :raises ValidationError: with every error of every field.
    """
    values = strict.read_fields(body, _ALONE, _WORDS)
    return values["amount"], strict.words_of(values) if len(values) > 1 else NO_WORDS


def read_item(item: Mapping[str, Any]) -> tuple[str, int, str, Words]:
    """Return wallet, amount, key and words of one item; UUIDs as text.

    :raises ValidationError: with every error of every field.
    """
    values = strict.read_fields(item, _AMONG_MANY, _WORDS)
    words = strict.words_of(values) if len(values) > len(_AMONG_MANY) else NO_WORDS
    return values["wallet"], values["amount"], values["idempotency_key"], words


def read_plain_items(body: bytes) -> list[tuple[str, int, str]] | None:
    """Return wallet, amount and key of each item, if nothing is wrong with any of them.

    A faster way than `strict_json` and `read_item`, which find the error if this
    returns None. A duplicate name is detected by its colon: each item must have three,
    and a UUID has none. So an item with words is read by the other way, too.
    """
    try:
        items = orjson.loads(body)
        plain = [
            (item["wallet"], item["amount"], item["idempotency_key"].lower())
            for item in items
        ]
        whole = (
            type(items) is list
            and body.count(b":") == 3 * len(items)
            and all(
                type(amount) is int and amount > 0 and is_uuid(wallet) and is_uuid(key)
                for wallet, amount, key in plain
            )
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return plain if whole else None

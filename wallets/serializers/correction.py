"""Requests and answers of corrections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rest_framework import serializers

from wallets.models.correction import Correction
from wallets.models.ledger import Movement
from wallets.serializers import strict
from wallets.serializers.fields import (
    AmountField,
    BalanceField,
    CountField,
    IdField,
    InstantField,
    KeyField,
    ReasonField,
    RequestSerializer,
    WalletField,
)


class CorrectionRequestSerializer(RequestSerializer):
    """What to take back of a deposit or a transfer, and why."""

    amount = AmountField(
        help_text="All or part of what is not corrected yet, in minor units; an integer."
    )
    reason = ReasonField(help_text="Why; it is kept with the correction.")


class CorrectionSerializer(serializers.Serializer):
    """A correction, seen from one wallet. It never changes."""

    transaction = IdField(help_text="Its own transaction in this wallet.")
    corrects = IdField(help_text="The transaction of this wallet that it corrects.")
    number = CountField(help_text="Its number among the corrections of that one.")
    amount = AmountField(help_text="What it took back, in minor units.")
    left = BalanceField(help_text="What was left to correct after it.")
    reason = serializers.CharField(help_text="Why it was made.")
    actor = serializers.CharField(help_text="Who made it.")
    created_at = InstantField(help_text="When it was made.")
    idempotency_key = KeyField(
        help_text="The idempotency key of the request: the client's, or one of ours if "
        "it sent none."
    )


class CorrectedWalletSerializer(serializers.Serializer):
    """The wallet, after the correction."""

    uuid = WalletField(help_text="The wallet of the path.")
    balance = BalanceField(help_text="Its balance after this correction.")


class CorrectionDoneSerializer(serializers.Serializer):
    """A correction that was made, with the wallet of the path."""

    wallet = CorrectedWalletSerializer()
    correction = CorrectionSerializer()


_REQUEST = CorrectionRequestSerializer.readers()


def read_correction(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return amount and reason.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _REQUEST)


def correction_line(
    wallet: UUID, one: Correction, movement: Movement, key: UUID
) -> dict[str, Any]:
    """Return the same as `CorrectionDoneSerializer`, for `strict_json.dumps`.

    `movement` is what the correction moved in this wallet, `key` that of the request.
    """
    mine = movement.transaction_id
    is_debit = mine == one.debit_id
    return {
        "wallet": {"uuid": wallet, "balance": movement.balance_after},
        "correction": {
            "transaction": mine,
            "corrects": one.corrects_id if is_debit else one.credit_corrects_id,
            "number": one.number,
            "amount": one.amount,
            "left": one.left_after,
            "reason": one.reason,
            "actor": one.actor,
            "created_at": one.created_at,
            "idempotency_key": key,
        },
    }

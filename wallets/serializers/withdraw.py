"""Requests for withdrawals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wallets.serializers import strict
from wallets.serializers.fields import AmountField, InstantField, RequestSerializer


class WithdrawRequestSerializer(RequestSerializer):
    """A withdrawal to schedule."""

    amount = AmountField(
        help_text="In minor units; an integer. It may exceed the balance."
    )
    scheduled_for = InstantField(help_text="A future time, with its offset.")


_READERS = WithdrawRequestSerializer.readers()


def read_withdrawal(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return amount and time. The balance is checked when the withdrawal is due.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _READERS)

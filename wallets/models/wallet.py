"""Wallets: identity and stored balance."""

import uuid

from django.db import models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, BaseModel


class Wallet(BaseModel):
    """An account of one customer.

    `balance` is what can be spent now, `held` what is in flight to the bank (minor
    units). Only `services.ledger.postings` and `services.ledger.ledger_postgresql` change them,
    together with a movement. `movement_count` is the number of the last movement, so
    two writers cannot use the same number. The cap is on the sum of both: held money
    must always have room to return.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    balance = models.PositiveBigIntegerField(default=0)
    held = models.PositiveBigIntegerField(default=0, editable=False)
    movement_count = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(balance__gte=0) & Q(balance__lte=MAX_MONEY),
                name="wallet_balance_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(held__gte=0) & Q(held__lte=MAX_MONEY - F("balance")),
                name="wallet_held_has_room_to_return",
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

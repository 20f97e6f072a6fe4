"""Transfers: money that moves from one wallet to another, both halves at once."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import LEG, ForeignKeyConstraint, covered_key
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet


class Transfer(models.Model):
    """A transfer, with its half in each wallet. Append-only.

    Each half is a transaction with one movement: the debit takes the money from a
    wallet into clearing, the credit moves it on to the other wallet. The idempotency
    key is the debit's. The row is written last, so it proves that both halves exist:
    its keys refer to their movements, by transaction, wallet and leg.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # The keys of four columns below cover these four columns.
    from_wallet = covered_key(Wallet)
    to_wallet = covered_key(Wallet)
    debit = covered_key(Transaction)
    credit = covered_key(Transaction)
    amount = models.PositiveBigIntegerField()
    created_at = WrittenAtField(editable=False)
    # Constants, because a foreign key needs a column for each column that it refers to.
    attempt_number = models.PositiveSmallIntegerField(default=0, editable=False)
    debit_leg = models.CharField(max_length=5, default="out", editable=False)
    credit_leg = models.CharField(max_length=5, default="in", editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["debit"], name="transfer_debit_unique"),
            models.UniqueConstraint(fields=["credit"], name="transfer_credit_unique"),
            ForeignKeyConstraint(
                fields=["debit", "from_wallet", "attempt_number", "debit_leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="transfer_takes_money_of_its_wallet",
            ),
            ForeignKeyConstraint(
                fields=["credit", "to_wallet", "attempt_number", "credit_leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="transfer_gives_money_to_its_wallet",
            ),
            models.CheckConstraint(
                condition=~Q(from_wallet=F("to_wallet")),
                name="transfer_between_two_wallets",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1) & Q(amount__lte=MAX_MONEY),
                name="transfer_amount_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(attempt_number=0, debit_leg="out", credit_leg="in"),
                name="transfer_refers_to_its_halves",
            ),
        ]

    def __str__(self) -> str:
        return f"transfer {self.uuid}"

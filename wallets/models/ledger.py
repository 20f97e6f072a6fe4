"""The ledger: one row per movement of money, from one account to another.

Only `services.ledger.postings` and `services.ledger.ledger_postgresql` write rows. Triggers refuse
every change of a row. Each row names both accounts and one positive amount, so the
accounts always balance. pgledger and TigerBeetle have the same design.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import ForeignKeyConstraint
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet


class Account(models.TextChoices):
    """The accounts between which money moves. Only wallets have a stored balance."""

    WALLET = "wallet"
    IN_FLIGHT = "in_flight"  # held for an open attempt
    OUTSIDE = "outside"  # everything outside of the service


class Movement(models.Model):
    """One movement of money into or out of a wallet, or out of its money in flight.

    `sequence` is the number in the wallet's statement, without gaps. `balance_after` is
    the wallet's balance after the movement (minor units). A settle does not change the
    balance: the hold has reduced it.
    """

    class Kind(models.TextChoices):
        DEPOSIT = "deposit"
        HOLD = "hold"
        SETTLE = "settle"
        RELEASE = "release"

    class Leg(models.TextChoices):
        """A hold opens the money of an attempt; a settle or a release closes it."""

        OPEN = "open"
        CLOSE = "close"

    # Neither has a foreign key of its own in the database:
    # `movement_in_its_transactions_wallet` covers both. Unique constraints begin with
    # each of them, so neither needs an index of its own.
    wallet = models.ForeignKey(
        Wallet,
        on_delete=models.PROTECT,
        related_name="movements",
        db_constraint=False,
        db_index=False,
    )
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="movements",
        db_constraint=False,
        db_index=False,
    )
    # The number of the attempt; 0 for a deposit.
    attempt_number = models.PositiveSmallIntegerField(default=0)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    leg = models.CharField(max_length=5, choices=Leg.choices)
    from_account = models.CharField(max_length=9, choices=Account.choices)
    to_account = models.CharField(max_length=9, choices=Account.choices)
    amount = models.PositiveBigIntegerField()
    sequence = models.PositiveBigIntegerField()
    balance_after = models.PositiveBigIntegerField()
    created_at = WrittenAtField(editable=False)

    class Meta:
        ordering = ["id"]
        indexes = [
            # A past balance is found as one row of this index.
            models.Index(
                fields=["wallet", "created_at", "sequence"], name="movement_by_time"
            )
        ]
        constraints = [
            ForeignKeyConstraint(
                fields=["wallet", "transaction"],
                to_fields=["wallet", "id"],
                name="movement_in_its_transactions_wallet",
            ),
            models.UniqueConstraint(
                fields=["wallet", "sequence"], name="movement_sequence_unique"
            ),
            models.UniqueConstraint(
                fields=["transaction", "attempt_number", "leg"],
                name="movement_one_per_leg",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1) & Q(amount__lte=MAX_MONEY),
                name="movement_amount_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0) & Q(balance_after__lte=MAX_MONEY),
                name="movement_balance_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(sequence__gte=1), name="movement_sequence_positive"
            ),
            models.CheckConstraint(
                condition=~Q(from_account=F("to_account")),
                name="movement_between_two_accounts",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind="deposit",
                    leg="open",
                    from_account="outside",
                    to_account="wallet",
                    attempt_number=0,
                )
                | Q(
                    kind="hold",
                    leg="open",
                    from_account="wallet",
                    to_account="in_flight",
                    attempt_number__gte=1,
                )
                | Q(
                    kind="settle",
                    leg="close",
                    from_account="in_flight",
                    to_account="outside",
                    attempt_number__gte=1,
                )
                | Q(
                    kind="release",
                    leg="close",
                    from_account="in_flight",
                    to_account="wallet",
                    attempt_number__gte=1,
                ),
                name="movement_accounts_match_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} ({self.wallet_id}/{self.sequence})"

    @property
    def change(self) -> int:
        """The change of the wallet's balance (minor units): positive, negative or 0."""
        to_wallet = self.to_account == Account.WALLET
        from_wallet = self.from_account == Account.WALLET
        return self.amount * (to_wallet - from_wallet)

"""The ledger: one row per movement of money, from one account to another.

Rows are written by `services.ledger.postings` only, and never changed: triggers refuse it. Because
each row names both accounts and one positive amount, the books cannot be out of balance.
The shape is pgledger's and TigerBeetle's.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import ForeignKeyConstraint
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet


class Account(models.TextChoices):
    """Between what money moves. Only wallets have a stored balance."""

    WALLET = "wallet"
    IN_FLIGHT = "in_flight"  # held while a payout is under way
    OUTSIDE = "outside"  # the bank, the world


class Movement(models.Model):
    """One movement of money in or out of a wallet, or out of what it has in flight.

    `sequence` is its place in the wallet's statement, without gaps; `balance_after` the
    wallet's balance (minor units) once it had happened. A settlement leaves the balance
    as it was: the wallet gave the money when it was held.
    """

    class Kind(models.TextChoices):
        DEPOSIT = "deposit"
        HOLD = "hold"
        SETTLE = "settle"
        RELEASE = "release"

    class Leg(models.TextChoices):
        """A hold opens an attempt's money, a settlement or a release closes it."""

        OPEN = "open"
        CLOSE = "close"

    # Neither has a key of its own in the database: `movement_in_its_transactions_wallet` is
    # of both, and a transaction's wallet exists. Unique constraints begin with each of
    # them: no index for it alone.
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
    # The attempt whose money this is; 0 for a deposit.
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
            # A past balance is one row of it.
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
        """What it did to the wallet's balance: something, less or nothing."""
        to_wallet = self.to_account == Account.WALLET
        from_wallet = self.from_account == Account.WALLET
        return self.amount * (to_wallet - from_wallet)

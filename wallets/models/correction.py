"""Corrections: entries that take back what a deposit, transfer or return moved wrongly."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import LEG, ForeignKeyConstraint, covered_key
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet


class Correction(models.Model):
    """A correction of a deposit, a return or a transfer, by an operator. Append-only.

    `corrects` is the deposit, the entry of the return, or the half of the transfer that
    brought the money; its `wallet` gives the amount back by the transaction `debit`. Of
    a transfer the `payer` gets it by the transaction `credit`, which corrects the other
    half.

    The corrections of one transaction are a chain, numbered from 1. `left_before` and
    `left_after` are what was not corrected yet, before and after this one (minor
    units). Each link refers to the one before, so two writers cannot correct the same
    money twice.
    """

    wallet = covered_key(Wallet)
    corrects = covered_key(Transaction)
    number = models.PositiveIntegerField()
    previous = models.PositiveIntegerField(null=True, blank=True)
    amount = models.PositiveBigIntegerField()
    left_before = models.PositiveBigIntegerField()
    left_after = models.PositiveBigIntegerField()
    debit = covered_key(Transaction)
    payer = covered_key(Wallet, null=True, blank=True)
    credit = covered_key(Transaction, null=True, blank=True)
    credit_corrects = covered_key(Transaction, null=True, blank=True)
    reason = models.TextField()
    actor = models.CharField(max_length=150)
    created_at = WrittenAtField(editable=False)
    # The leg of the corrected movement; then constants, because a foreign key needs a
    # column for each column that it refers to.
    corrects_leg = models.CharField(max_length=5, editable=False)
    attempt_number = models.PositiveSmallIntegerField(default=0, editable=False)
    leg = models.CharField(max_length=5, default="back", editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["corrects", "number"], name="correction_number_unique"
            ),
            # The target of the next link.
            models.UniqueConstraint(
                fields=["corrects", "number", "left_after"],
                name="correction_link_unique",
            ),
            models.UniqueConstraint(fields=["debit"], name="correction_debit_unique"),
            models.UniqueConstraint(fields=["credit"], name="correction_credit_unique"),
            ForeignKeyConstraint(
                fields=["corrects", "previous", "left_before"],
                to="wallets.Correction",
                to_fields=["corrects", "number", "left_after"],
                name="correction_goes_on_from_the_one_before",
            ),
            # Only a deposit, a return and the incoming half of a transfer have such a leg.
            ForeignKeyConstraint(
                fields=["corrects", "wallet", "attempt_number", "corrects_leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="correction_of_money_that_came_into_its_wallet",
            ),
            ForeignKeyConstraint(
                fields=["debit", "wallet", "attempt_number", "leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="correction_takes_money_of_its_wallet",
            ),
            ForeignKeyConstraint(
                fields=["payer", "credit_corrects"],
                to_fields=["wallet", "id"],
                name="correction_of_the_payers_transaction",
            ),
            ForeignKeyConstraint(
                fields=["credit", "payer", "attempt_number", "leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="correction_gives_money_to_the_payer",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1) & Q(amount__lte=MAX_MONEY),
                name="correction_amount_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(left_after__gte=0)
                & Q(left_before=F("left_after") + F("amount")),
                name="correction_leaves_the_rest",
            ),
            models.CheckConstraint(
                condition=Q(number=1, previous__isnull=True)
                | Q(number__gte=2, previous__isnull=False, previous=F("number") - 1),
                name="correction_after_the_one_before",
            ),
            models.CheckConstraint(
                condition=Q(
                    corrects_leg__in=["open", "bank"],
                    payer__isnull=True,
                    credit__isnull=True,
                    credit_corrects__isnull=True,
                )
                | Q(
                    corrects_leg="in",
                    payer__isnull=False,
                    credit__isnull=False,
                    credit_corrects__isnull=False,
                ),
                name="correction_of_a_deposit_or_of_both_halves",
            ),
            models.CheckConstraint(
                condition=Q(attempt_number=0, leg="back"),
                name="correction_refers_to_its_movements",
            ),
        ]

    def __str__(self) -> str:
        return f"correction {self.corrects_id}/{self.number}"

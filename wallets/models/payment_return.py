"""Returns: payments of withdrawals that the bank has sent back later."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import LEG, ForeignKeyConstraint, covered_key
from wallets.models.fields import ExactCharField
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.utils.words import MAX_REFERENCE


class PaymentReturn(models.Model):
    """The return of a paid withdrawal, recorded by an operator. Append-only.

    The withdrawal stays COMPLETED. Its attempt `attempt_number` has paid `paid`; the
    transaction `credit` gives `amount` of it back to the wallet (minor units). The bank
    may have kept a fee, so `amount` may be smaller. `return_reference` is what the bank
    calls the return: the evidence.
    """

    wallet = covered_key(Wallet)
    withdrawal = covered_key(Transaction)
    attempt_number = models.PositiveSmallIntegerField()
    paid = models.PositiveBigIntegerField()
    amount = models.PositiveBigIntegerField()
    credit = covered_key(Transaction)
    return_reference = ExactCharField(max_length=MAX_REFERENCE)
    reason = models.TextField()
    actor = models.CharField(max_length=150)
    created_at = WrittenAtField(editable=False)
    # Constants, because a foreign key needs a column for each column that it refers to.
    paid_leg = models.CharField(max_length=5, default="close", editable=False)
    credit_attempt = models.PositiveSmallIntegerField(default=0, editable=False)
    credit_leg = models.CharField(max_length=5, default="bank", editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["withdrawal"], name="return_once_per_withdrawal"
            ),
            models.UniqueConstraint(fields=["credit"], name="return_credit_unique"),
            # Only an attempt of a withdrawal has such a leg, when it has ended. A
            # release has it, too: `verify_ledger` looks at the kind and the amount.
            ForeignKeyConstraint(
                fields=["withdrawal", "wallet", "attempt_number", "paid_leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="return_of_its_wallets_ended_attempt",
            ),
            # Only the movement of a return has such a leg.
            ForeignKeyConstraint(
                fields=["credit", "wallet", "credit_attempt", "credit_leg"],
                to="wallets.Movement",
                to_fields=LEG,
                name="return_gives_money_to_its_wallet",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1)
                & Q(amount__lte=F("paid"))
                & Q(paid__lte=MAX_MONEY),
                name="return_of_no_more_than_was_paid",
            ),
            models.CheckConstraint(
                condition=~Q(return_reference=""), name="return_has_its_evidence"
            ),
            models.CheckConstraint(
                condition=Q(
                    attempt_number__gte=1,
                    paid_leg="close",
                    credit_attempt=0,
                    credit_leg="bank",
                ),
                name="return_refers_to_its_movements",
            ),
        ]

    def __str__(self) -> str:
        return f"return of withdrawal {self.withdrawal_id}"

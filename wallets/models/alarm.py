"""Alarms: facts that a person must look at."""

from django.db import models

from wallets.models.base import BaseModel
from wallets.models.transaction import Transaction


class Alarm(BaseModel):
    """A fact that the service noticed and must not act on automatically."""

    class Kind(models.TextChoices):
        NEEDS_REVIEW = "needs_review"  # the bank cannot tell whether it paid
        PAID_AFTER_RELEASE = "paid_after_release"  # paid, but the money was released
        CONTRADICTION = "contradiction"  # refused after an earlier "paid"
        PAID_TWICE = "paid_twice"  # one reference is twice on the bank's lists
        UNKNOWN_PAYMENT = (
            "unknown_payment"  # on the bank's list, not paid in the ledger
        )
        NOT_ON_STATEMENT = "not_on_statement"  # in the ledger, not on the bank's list
        PAID_OTHERWISE = "paid_otherwise"  # another amount or wallet than we sent
        NO_STATEMENT = "no_statement"  # the bank's list was not fetched
        DAMAGED_ROWS = "damaged_rows"  # damaged rows were skipped
        PAYOUTS_PAUSED = "payouts_paused"  # an operator has paused all payouts

    kind = models.CharField(max_length=24, choices=Kind.choices)
    # The subject as text: "withdrawal 12", "reference 9f1c…", "payouts".
    subject = models.CharField(max_length=100)
    # The alarm's withdrawal; NULL if it has none.
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="alarms",
        null=True,
        blank=True,
    )
    attempt_number = models.PositiveSmallIntegerField(default=0)
    detail = models.TextField(default="", blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, default="", blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "attempt_number", "kind"],
                name="alarm_once_per_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"

"""What a person must look at."""

from django.db import models

from wallets.models.base import BaseModel
from wallets.models.transaction import Transaction


class Alarm(BaseModel):
    """A fact that the service noticed and must not act on by itself."""

    class Kind(models.TextChoices):
        NEEDS_REVIEW = "needs_review"  # the bank cannot tell whether it paid
        PAID_AFTER_RELEASE = "paid_after_release"  # paid, but the money went back
        CONTRADICTION = "contradiction"  # refused, but we hold proof of payment
        PAID_TWICE = "paid_twice"  # the bank's statement lists one reference twice
        UNKNOWN_PAYMENT = "unknown_payment"  # on the bank's statement, not in the books
        NOT_ON_STATEMENT = "not_on_statement"  # paid by the books, not by the bank's
        PAID_OTHERWISE = "paid_otherwise"  # another amount or wallet than we asked for
        NO_STATEMENT = "no_statement"  # the bank's statement could not be read
        DAMAGED_ROWS = "damaged_rows"  # rows break the rules and were put aside
        PAYOUTS_PAUSED = "payouts_paused"  # an operator has stopped all payouts

    kind = models.CharField(max_length=24, choices=Kind.choices)
    # What it is about, as text: "withdrawal 12", "reference 9f1c…", "payouts".
    subject = models.CharField(max_length=100)
    # The withdrawal that it is about; NULL where it is about none.
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

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

    kind = models.CharField(max_length=24, choices=Kind.choices)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, related_name="alarms"
    )
    attempt_number = models.PositiveSmallIntegerField(default=0)
    detail = models.TextField(default="", blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, default="", blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "attempt_number", "kind"],
                name="alarm_once_per_attempt",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.transaction_id}"

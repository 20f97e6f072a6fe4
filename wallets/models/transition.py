"""The history of withdrawals: one append-only row for each event."""

from django.db import models
from django.db.models import Q

from wallets.models.base import WrittenAtField
from wallets.models.transaction import Transaction


class Transition(models.Model):
    """An event of a withdrawal, with the states around it, actor and evidence.

    `sequence` is the withdrawal's version after it, so two writers cannot both make it.
    """

    # The index of a unique constraint begins with this column.
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="transitions",
        db_index=False,
    )
    sequence = models.PositiveIntegerField()
    event = models.CharField(max_length=24)
    from_state = models.CharField(max_length=24, blank=True)
    to_state = models.CharField(max_length=24)
    attempt_number = models.PositiveSmallIntegerField(null=True, blank=True)
    actor = models.CharField(max_length=150)
    evidence = models.TextField(default="", blank=True)
    # The new time of a rescheduled withdrawal; NULL for every other event.
    scheduled_for = models.DateTimeField(null=True, blank=True)
    created_at = WrittenAtField(editable=False)

    class Meta:
        ordering = ["transaction_id", "sequence"]
        # For the latest events, which the console and /metrics read.
        indexes = [models.Index(fields=["created_at"], name="transition_by_time")]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "sequence"], name="transition_sequence_unique"
            ),
            models.CheckConstraint(
                condition=Q(event="reschedule", scheduled_for__isnull=False)
                | ~Q(event="reschedule") & Q(scheduled_for__isnull=True),
                name="transition_reschedule_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id}: {self.from_state} → {self.to_state}"

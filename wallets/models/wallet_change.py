"""The history of a wallet's name and life: one append-only row for each change."""

from django.db import models
from django.db.models import Q

from wallets.models.base import WrittenAtField
from wallets.models.wallet import Wallet


class WalletChange(models.Model):
    """A change of a wallet after its creation, with its actor and reason. Append-only.

    `before` and `after` are the changed columns as JSON objects, by the names of the
    API. `sequence` is the number of the change, without gaps: the wallet's
    `change_count` after it, so two writers cannot both make it.
    """

    class Event(models.TextChoices):
        CHANGED = "changed"
        FROZEN = "frozen"
        UNFROZEN = "unfrozen"
        CLOSED = "closed"

    # The index of a unique constraint begins with this column.
    wallet = models.ForeignKey(
        Wallet, on_delete=models.PROTECT, related_name="changes", db_index=False
    )
    sequence = models.PositiveIntegerField()
    event = models.CharField(max_length=16, choices=Event.choices)
    before = models.TextField()
    after = models.TextField()
    actor = models.CharField(max_length=150)
    reason = models.TextField(default="", blank=True)
    created_at = WrittenAtField(editable=False)

    class Meta:
        ordering = ["wallet_id", "sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["wallet", "sequence"], name="wallet_change_sequence_unique"
            ),
            models.CheckConstraint(
                condition=Q(sequence__gte=1), name="wallet_change_sequence_positive"
            ),
            models.CheckConstraint(
                condition=Q(event__in=["changed", "frozen", "unfrozen", "closed"]),
                name="wallet_change_event_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.wallet_id}/{self.sequence}: {self.event}"

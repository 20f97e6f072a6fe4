"""What one person proposes about a withdrawal in review, for another one to confirm."""

from django.db import models

from wallets.models.base import WrittenAtField
from wallets.models.transaction import Transaction


class ReviewProposal(models.Model):
    """That somebody says the bank did not pay, on what evidence. Append-only.

    It is open as long as the withdrawal is in review, and decides nothing alone. Who
    confirmed it is told by the withdrawal's last transition.
    """

    # A unique constraint is its index.
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="review_proposals",
        db_index=False,
    )
    attempt_number = models.PositiveSmallIntegerField()
    proposed_by = models.CharField(max_length=150)
    # The user's id, which a new name does not change; NULL for a command.
    user_id = models.BigIntegerField(null=True, blank=True)
    evidence = models.TextField()
    created_at = WrittenAtField(editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction"], name="review_proposal_one_each"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id}: not paid, by {self.proposed_by}"

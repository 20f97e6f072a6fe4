"""Proposals about withdrawals in review, for a second person to confirm."""

from django.db import models

from wallets.models.base import WrittenAtField
from wallets.models.transaction import Transaction


class ReviewProposal(models.Model):
    """A person's proposal, with evidence, that the bank did not pay. Append-only.

    It is open while the withdrawal is in review, and changes nothing alone. The
    withdrawal's last transition names the person who confirmed it.
    """

    # The unique constraint is its index.
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="review_proposals",
        db_index=False,
    )
    attempt_number = models.PositiveSmallIntegerField()
    proposed_by = models.CharField(max_length=150)
    # The user's id, which does not change with the name; NULL for a command.
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

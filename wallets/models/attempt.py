"""One attempt to pay a withdrawal, committed before the first byte is sent."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from wallets.models.base import BaseModel
from wallets.models.transaction import Transaction


class Attempt(BaseModel):
    """A request to the bank with its reference, and its outcome.

    An attempt is open until there is evidence whether the bank paid. Then `open` is
    NULL, so that one unique constraint allows at most one open attempt on every engine.

    - `lease_expires_at`: until then a sender may be at work.
    - `next_check_at`: when the resolver processes it next.
    - `sent_to`: the bank and its declared abilities when it was sent, as
      `services.payouts.sent_to` writes it; "" (from an earlier release): unknown.
    - `waits`: how long ago its events happened, by elapsed time; see `services.payouts.waits`.
      NULL (from an earlier release): unknown.
    """

    class Outcome(models.TextChoices):
        NONE = ""  # no answer yet
        ACCEPTED = "accepted"
        REJECTED = "rejected"
        NOT_SENT = "not_sent"
        UNKNOWN = "unknown"
        NOT_FOUND = "not_found"

    # The index of a unique constraint begins with this column.
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="attempts",
        db_index=False,
    )
    number = models.PositiveSmallIntegerField()
    reference = models.UUIDField()
    open = models.BooleanField(null=True, default=True)
    outcome = models.CharField(
        max_length=9, choices=Outcome.choices, default="", blank=True
    )
    # Identifies the claim that made it: after a lost reply the claim finds its own
    # rows.
    claim_token = models.UUIDField(default=uuid.uuid4, db_index=True)
    sends = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField()
    last_sent_at = models.DateTimeField()
    lease_expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    not_found_count = models.PositiveSmallIntegerField(default=0)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    answer = models.TextField(default="", blank=True)
    sent_to = models.CharField(
        max_length=64, default="", db_default="", blank=True, editable=False
    )
    waits = models.JSONField(null=True, blank=True, default=None, editable=False)

    class Meta:
        ordering = ["transaction_id", "number"]
        indexes = [
            models.Index(fields=["open", "next_check_at"], name="attempt_to_check")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "number"], name="attempt_number_unique"
            ),
            models.UniqueConstraint(
                fields=["reference"], name="attempt_reference_unique"
            ),
            models.UniqueConstraint(
                fields=["transaction", "open"], name="attempt_one_open"
            ),
            models.CheckConstraint(
                # A CHECK that evaluates to NULL passes, so test for NULL first.
                condition=Q(open__isnull=True, closed_at__isnull=False)
                | Q(open__isnull=False, open=True, closed_at__isnull=True),
                name="attempt_open_or_closed",
            ),
            models.CheckConstraint(
                condition=Q(open__isnull=True) | Q(outcome__in=["", "unknown"]),
                name="attempt_open_has_no_outcome",
            ),
            models.CheckConstraint(
                condition=Q(open__isnull=False)
                | Q(outcome__in=["accepted", "rejected", "not_sent", "not_found"]),
                name="attempt_closed_has_outcome",
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1), name="attempt_number_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id}/{self.number}"

"""Deliveries: one event on its way to one endpoint."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from events.models.endpoint import Endpoint
from wallets.models.base import BaseModel

# The attempts of a delivery that are kept, and the characters of each answer.
MAX_ATTEMPTS = 5
MAX_KEPT_ANSWER = 200

# Deliveries that have not ended. `open=True` would become a condition without a
# comparison, for which MariaDB and MySQL use no index: they would read all that was ever
# delivered.
OPEN = Q(open__in=[True])


class Delivery(BaseModel):
    """An event that an endpoint gets, and what has come of it so far.

    A delivery is open until the endpoint has the event. Then `open` is NULL.

    - `sequence`: its place in the endpoint's order. Of the open deliveries of one lane
      only the first one is sent.
    - `lane`: the wallet's UUID, or a name of its own.
    - `body`: the bytes that are signed and sent, the same for each attempt.
    - `position`: the event's position in the feed; NULL for a test event.
    - `due_at`: when it is sent next; while a sender is at work, the end of its lease.
    - `lease_token`: identifies the sender at work; NULL: none.
    - `claimed_at`: when it was sent last, by the database's clock.
    - `attempts`: how often it was claimed; `failures`: the failed attempts of this round,
      without those that were made before their time.
    - `last_attempts`: the last MAX_ATTEMPTS attempts whose end is known, newest first:
      number (`attempt`), `sent` and `ended` (UTC, RFC 3339), HTTP `status` or null, and
      the beginning of the `answer`; after a failure also the `next` attempt of the
      schedule. NULL: none, or the row is of an earlier release.
    """

    class Outcome(models.TextChoices):
        NONE = ""  # open
        DELIVERED = "delivered"
        FAILED = "failed"  # a test event is sent once

    # The index of a unique constraint begins with this column.
    endpoint = models.ForeignKey(
        Endpoint,
        on_delete=models.PROTECT,
        related_name="deliveries",
        db_index=False,
    )
    sequence = models.PositiveBigIntegerField()
    event_id = models.CharField(max_length=100)
    event_type = models.CharField(max_length=100)
    position = models.PositiveBigIntegerField(null=True, blank=True)
    lane = models.CharField(max_length=100)
    body = models.TextField()
    open = models.BooleanField(null=True, default=True)
    outcome = models.CharField(
        max_length=9, choices=Outcome.choices, default="", blank=True
    )
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    answer = models.TextField(default="", blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    last_attempts = models.JSONField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["endpoint_id", "sequence"]
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["endpoint", "open", "due_at"], name="delivery_due"),
            models.Index(
                fields=["endpoint", "open", "lane", "sequence"], name="delivery_lane"
            ),
            models.Index(fields=["closed_at"], name="delivery_closed"),
            # An open one has no outcome, so this finds each status in order.
            models.Index(
                fields=["endpoint", "outcome", "sequence"], name="delivery_outcome"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "sequence"], name="delivery_sequence_unique"
            ),
            models.CheckConstraint(
                # A CHECK that evaluates to NULL passes, so test for NULL first.
                condition=Q(open__isnull=True, closed_at__isnull=False)
                | Q(open__isnull=False, open=True, closed_at__isnull=True),
                name="delivery_open_or_closed",
            ),
            models.CheckConstraint(
                condition=Q(open__isnull=True, outcome__in=["delivered", "failed"])
                | Q(open__isnull=False, outcome=""),
                name="delivery_closed_has_outcome",
            ),
            models.CheckConstraint(
                condition=Q(lease_token__isnull=True)
                | Q(open__isnull=False, claimed_at__isnull=False),
                name="delivery_lease_is_of_an_open_one",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}"

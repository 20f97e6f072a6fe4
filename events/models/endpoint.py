"""Endpoints: the URLs that events are sent to."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q

from events.utils.signatures import Stored
from wallets.models.base import BaseModel
from wallets.models.fields import ExactCharField
from wallets.utils.actors import MAX_ACTOR
from wallets.utils.caller import MAX_TENANT

MAX_DESCRIPTION = 255


class Keep(models.TextChoices):
    """Which of two valid secrets signs beside a new one; the other ends at once."""

    PRESENT = "present"  # the one of the last rotation
    OLD = "old"  # the one before it


class Endpoint(BaseModel):
    """A URL that a client wants events at, and its place in the feed.

    - `types`: the wanted types of events; empty: all.
    - `position`: up to this position of the feed, deliveries have been planned.
    - `moved_at`: when the position was moved last, by planning or a replay, or planning
      began anew (UTC); NULL: one of an earlier release.
    - `next_sequence`: the number of the next delivery, which is its place in the order.
    - `failures_in_row`: failed attempts since the last success, of all deliveries.
    - `beginnings`: how often all that is open began anew, for a new URL or a replay, or
      because it was switched on. The result of a call that was claimed before counts no more.
    - `quiet_until`: nothing is sent until then (UTC), because its receiver asked for
      that; it may be over. NULL: it has not asked.
    - `busy_until`: until then it gets one event at a time (UTC), because its receiver was
      overloaded; it may be over.
    - `switched_off`: how often the service itself has switched it off.
    - `unsigned_since`: since then its events cannot be signed (UTC); NULL: they can.
      `unsigned_times`: how often that was an alarm.
    - `tenant`: that of the caller who made it ("": an unlimited one); it gets only the
      events of this tenant's wallets. It never changes.
    - `created_by`, `changed_by`: the actors who made it, and who changed it or its secret
      last; "": one of an earlier release.
    - `deleted_at`: it is gone for everybody; its rows are removed step by step.

    A secret is a seed and a fingerprint (`utils.signatures`). There are at most two, and
    the old one ends.
    """

    class OffBecause(models.TextChoices):
        NOT_OFF = ""
        SWITCHED_OFF = "switched_off"  # a client or an operator did it
        FAILING = "failing"  # the last attempt of a delivery failed
        GONE = "gone"  # it answered 410

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    url = models.CharField(max_length=2048)
    description = models.CharField(max_length=MAX_DESCRIPTION, default="", blank=True)
    types = models.JSONField(default=list, blank=True)
    enabled = models.BooleanField(default=True)
    off_because = models.CharField(
        max_length=12, choices=OffBecause.choices, default="", blank=True
    )
    position = models.PositiveBigIntegerField()
    moved_at = models.DateTimeField(null=True, blank=True)
    next_sequence = models.PositiveBigIntegerField(default=1)
    failures_in_row = models.PositiveIntegerField(default=0)
    beginnings = models.PositiveIntegerField(default=0, db_default=0)
    quiet_until = models.DateTimeField(null=True, blank=True)
    busy_until = models.DateTimeField(null=True, blank=True)
    switched_off = models.PositiveSmallIntegerField(default=0)
    unsigned_since = models.DateTimeField(null=True, blank=True)
    unsigned_times = models.PositiveSmallIntegerField(default=0, db_default=0)
    secret_seed = models.CharField(max_length=64)
    secret_fingerprint = models.CharField(max_length=64)
    old_seed = models.CharField(max_length=64, default="", blank=True)
    old_fingerprint = models.CharField(max_length=64, default="", blank=True)
    old_ends_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    tenant = ExactCharField(
        max_length=MAX_TENANT, default="", db_default="", blank=True, editable=False
    )
    created_by = ExactCharField(
        max_length=MAX_ACTOR, default="", db_default="", blank=True, editable=False
    )
    changed_by = ExactCharField(
        max_length=MAX_ACTOR, default="", db_default="", blank=True, editable=False
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(enabled=True, off_because="")
                | Q(enabled=False) & ~Q(off_because=""),
                name="endpoint_off_has_reason",
            ),
            models.CheckConstraint(
                # A CHECK that evaluates to NULL passes, so test for NULL first.
                condition=Q(old_ends_at__isnull=True, old_seed="", old_fingerprint="")
                | Q(old_ends_at__isnull=False)
                & ~Q(old_seed="")
                & ~Q(old_fingerprint=""),
                name="endpoint_old_secret_ends",
            ),
            models.CheckConstraint(
                condition=~Q(secret_seed="") & ~Q(secret_fingerprint=""),
                name="endpoint_has_secret",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(enabled=False),
                name="endpoint_deleted_is_off",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.uuid} {self.url}"

    @property
    def secret(self) -> Stored:
        """The present secret, as it is stored."""
        return Stored(self.secret_seed, self.secret_fingerprint)

    @property
    def old_secret(self) -> Stored | None:
        """The secret before the last rotation, as it is stored; it may have ended."""
        return Stored(self.old_seed, self.old_fingerprint) if self.old_seed else None

    def active_secrets(self, now: datetime) -> list[Stored]:
        """Return the secrets that events are signed with: one, or two in an overlap."""
        old = self.old_secret
        ended = self.old_ends_at is None or self.old_ends_at <= now
        return [self.secret] if old is None or ended else [self.secret, old]

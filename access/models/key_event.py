"""The history of keys: who made, rotated or revoked which one, and when."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from access.models.api_key import MAX_REASON, ApiKey
from wallets.models.base import WrittenAtField
from wallets.utils.actors import MAX_ACTOR


class KeyEvent(models.Model):
    """A change of a key. Append-only: triggers refuse UPDATE and DELETE.

    `said`: what was asked for, as JSON, without a secret.
    """

    class Kind(models.TextChoices):
        CREATED = "created"
        ROTATED = "rotated"  # another key replaced it
        REVOKED = "revoked"

    append_only = True

    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="events")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    actor = models.CharField(max_length=MAX_ACTOR)
    reason = models.CharField(max_length=MAX_REASON, default="", blank=True)
    said = models.JSONField(default=dict)
    created_at = WrittenAtField(editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["key", "kind"], name="key_event_once_of_a_kind"
            ),
            models.CheckConstraint(
                condition=~Q(actor="") & ~Q(kind=""), name="key_event_has_actor"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key_id} {self.kind} by {self.actor}"

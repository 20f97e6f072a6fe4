"""Keys: who may call the API, and what for."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q

from wallets.models.base import WrittenAtField
from wallets.utils.actors import MAX_ACTOR
from wallets.utils.caller import MAX_TENANT

MAX_NAME = 63
MAX_REASON = 500


class ApiKey(models.Model):
    """A key. Its secret is not here: only its SHA-256 is.

    A slow hash, as for passwords, protects a secret that can be guessed. This one has
    256 random bits, so nobody can try them all, and a fast hash is as safe.

    - `name`: of the caller, who is the actor of what it changes.
    - `prefix`: the first characters of the secret, for people; no secret.
    - `digest`: the SHA-256 of the whole secret, in hexadecimal.
    - `scopes`: what it may do (`utils.scopes`).
    - `tenant`: it is limited to the wallets of this tenant; "": to none.
    - `rate`: requests in a minute, of each process; NULL: API_KEY_RATE.
    - `current`: True for the newest key of its name, NULL for one that was rotated away
      or revoked. (No boolean: NULLs may repeat in a unique constraint.)
    - `expires_at`: it does not work from then on, by the database's clock.
    - `last_used_at`: to the minute; NULL: never.
    - `rotated_from`: the key that it replaced.

    Times are UTC.
    """

    name = models.CharField(max_length=MAX_NAME)
    prefix = models.CharField(max_length=11, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField()
    tenant = models.CharField(max_length=MAX_TENANT, default="", blank=True)
    rate = models.PositiveIntegerField(null=True, blank=True)
    current = models.BooleanField(default=True, null=True, blank=True)
    created_at = WrittenAtField(editable=False)
    created_by = models.CharField(max_length=MAX_ACTOR)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=MAX_ACTOR, default="", blank=True)
    revoked_reason = models.CharField(max_length=MAX_REASON, default="", blank=True)
    rotated_from = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="rotated_to"
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "current"], name="api_key_one_current_of_a_name"
            ),
            models.CheckConstraint(
                # A CHECK that evaluates to NULL passes, so test for NULL first.
                condition=Q(current__isnull=True)
                | Q(current__isnull=False, current=True),
                name="api_key_current_or_null",
            ),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(created_by="") & ~Q(digest=""),
                name="api_key_has_name_and_digest",
            ),
            models.CheckConstraint(
                condition=Q(rate__isnull=True) | Q(rate__isnull=False, rate__gte=1),
                name="api_key_rate_positive",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True, revoked_by="", revoked_reason="")
                | Q(revoked_at__isnull=False, current__isnull=True)
                & ~Q(revoked_by="")
                & ~Q(revoked_reason=""),
                name="api_key_revoked_by_somebody",
            ),
            models.CheckConstraint(
                # One that was rotated away ends.
                condition=Q(current__isnull=False)
                | Q(revoked_at__isnull=False)
                | Q(expires_at__isnull=False),
                name="api_key_rotated_away_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.prefix}"

    def state(self, now: datetime) -> str:
        """Return in a word whether it works at this moment."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "ended" if self.current is None else "expired"
        return "rotated" if self.current is None else "works"

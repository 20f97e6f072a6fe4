"""Pauses of all payouts: who paused and resumed them, and why."""

from django.db import models
from django.db.models import Q


class Pause(models.Model):
    """A time in which no payment is sent to the bank.

    `open` is NULL after the end, so that one unique constraint allows at most one open
    pause on every engine. A row is closed once, and never deleted.
    """

    open = models.BooleanField(null=True, default=True)
    paused_at = models.DateTimeField()
    paused_by = models.CharField(max_length=150)
    reason = models.TextField()
    resumed_at = models.DateTimeField(null=True, blank=True)
    resumed_by = models.CharField(max_length=150, default="", blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["open"], name="pause_one_open"),
            models.CheckConstraint(
                # A CHECK that evaluates to NULL passes, so test for NULL first.
                condition=Q(open__isnull=True, resumed_at__isnull=False)
                | Q(open__isnull=False, open=True, resumed_at__isnull=True),
                name="pause_open_or_resumed",
            ),
        ]

    def __str__(self) -> str:
        return f"pause {self.pk} by {self.paused_by}"

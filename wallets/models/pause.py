"""When operators stopped all payouts: who, why, and who let them go on."""

from django.db import models
from django.db.models import Q


class Pause(models.Model):
    """A time in which nothing is sent to the bank.

    `open` is NULL once payouts go on, so that one unique constraint, on every engine,
    allows one pause at a time. Rows are closed once and kept.
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
                # A CHECK that comes to NULL is kept: ask whether it is NULL first.
                condition=Q(open__isnull=True, resumed_at__isnull=False)
                | Q(open__isnull=False, open=True, resumed_at__isnull=True),
                name="pause_open_or_resumed",
            ),
        ]

    def __str__(self) -> str:
        return f"pause {self.pk} by {self.paused_by}"

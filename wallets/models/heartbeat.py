"""When each sweep last ran; an old heartbeat shows that no worker works."""

from django.db import models


class Heartbeat(models.Model):
    """The last run of one sweep, by the database's clock (UTC)."""

    name = models.CharField(max_length=32, primary_key=True)
    ran_at = models.DateTimeField()
    by = models.CharField(max_length=150)

    def __str__(self) -> str:
        return f"{self.name} {self.ran_at:%Y-%m-%dT%H:%M:%SZ}"

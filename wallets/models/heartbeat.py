"""When each sweep last ran: silence here is the first sign of a sick worker."""

from django.db import models


class Heartbeat(models.Model):
    """The last run of one sweep, by the database's clock."""

    name = models.CharField(max_length=32, primary_key=True)
    ran_at = models.DateTimeField()
    by = models.CharField(max_length=150)

    def __str__(self) -> str:
        return f"{self.name} {self.ran_at:%Y-%m-%dT%H:%M:%SZ}"

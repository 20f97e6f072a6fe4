"""The stored totals of /metrics, so that a scrape counts only new rows."""

from django.db import models


class Tally(models.Model):
    """The totals over the rows of one append-only table, up to and including id `upto`."""

    name = models.CharField(max_length=32, primary_key=True)
    upto = models.PositiveBigIntegerField(default=0)
    totals = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return f"{self.name} up to {self.upto}"

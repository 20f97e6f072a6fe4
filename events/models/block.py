"""Blocks of the feed: the latest time of many events that follow each other."""

from __future__ import annotations

from django.db import models


class Block(models.Model):
    """The latest `created_at` of the events of one block: `services.moments.SIZE` of them.

    `last` is the position of the block's last event. Only `services.moments` writes rows,
    when all events of the block are there, so a row never changes. Without rows a replay
    from a time makes them again.
    """

    last = models.PositiveBigIntegerField(primary_key=True)
    latest = models.DateTimeField()

    class Meta:
        ordering = ["last"]

    def __str__(self) -> str:
        return f"up to {self.last}: {self.latest}"

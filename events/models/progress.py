"""How far the sequencer has come in each source.

Only `services.sequencer` writes rows. Losing them loses no event and doubles none: it
then begins again, and finds what has a place already.
"""

from __future__ import annotations

from django.db import models

from events.models.event import Source


class Cursor(models.Model):
    """The highest id of a source that the sequencer has passed.

    Every row up to it has its event, or its id is in a `Gap`. The first of these rows
    is the lock of the sequencer: one pass at a time gives places.
    """

    source = models.PositiveSmallIntegerField(primary_key=True, choices=Source.choices)
    row_id = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.get_source_display()} up to {self.row_id}"


class Gap(models.Model):
    """Ids below the cursor for which no committed row was found.

    A transaction that is open may commit such a row later, however old the gap is; an
    id that was rolled back stays missing. So a gap is looked at for ever, but less and
    less often. `missing` lists the ids in ascending runs, for example "5,9-12".
    """

    source = models.PositiveSmallIntegerField(choices=Source.choices)
    first = models.PositiveBigIntegerField()
    last = models.PositiveBigIntegerField()
    missing = models.TextField()
    seen_at = models.DateTimeField()
    look_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["look_at"], name="gap_by_next_look"),
            models.Index(fields=["source", "first"], name="gap_by_first_id"),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_display()} {self.missing}"

"""From which position on all events of a time are.

The times of events do not rise with their positions: a transaction may be committed an
hour late, a clock may be set back, and the feed may have begun on an old ledger. So no
search that compares single events proves that nothing of a time is before a position.
An index on `created_at` would prove it, and every deposit would pay for it.

Instead the latest time of each block of SIZE events is noted, once, when all of them
are there. The first block that is late enough has the first event of the time.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Max, QuerySet, Subquery, Value

from events.models.block import Block
from events.models.event import Event
from events.services import feed
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    run_in_transaction,
)

# The events of a block: so many rows are read by one statement, by the primary key. It
# never changes: rows of earlier releases have this size.
SIZE = 10_000


def first_position(moment: datetime) -> int:
    """Return the position of the first event of this moment or later.

    If there is none: the position after the last one. Opens its own transactions, and
    notes all blocks that are not noted yet.
    """
    while note(most=1):
        pass
    # Before the search: what another process notes after it is then read row by row.
    noted = _noted()
    blocks = Block.objects.order_by("last")
    end = blocks.filter(latest__gte=moment).values_list("last", flat=True).first()
    if end is None:
        begin, end = noted, feed.last_position()
    else:
        begin = end - SIZE
    rows = _between(begin, end).filter(created_at__gte=moment).order_by("position")
    found = rows.values_list("position", flat=True).first()
    return end + 1 if found is None else found


def note(*, most: int) -> int:
    """Note the latest times of the next blocks, at most `most`; return how many.

    Opens its own transactions, one for each block.
    """
    noted = 0
    while noted < most and run_in_transaction(
        _note_next, patience=CLIENT_PATIENCE_SECONDS
    ):
        noted += 1
    return noted


def _note_next() -> bool:
    begin = _noted()
    # The feed has no gaps, so all events up to its end are there.
    if feed.last_position() < begin + SIZE:
        return False
    end = begin + SIZE
    rows = _between(begin, end).order_by().values(whole=Value(1))
    latest = rows.annotate(latest=Max("created_at")).values("latest")
    # The time is not read by this process, which cannot read each time that a damaged
    # row may have. Another process writes the same row.
    Block.objects.bulk_create(
        [Block(last=end, latest=Subquery(latest))], ignore_conflicts=True
    )
    return True


def _noted() -> int:
    """Return the position up to which blocks are noted."""
    return Block.objects.aggregate(last=Max("last"))["last"] or 0


def _between(begin: int, end: int) -> QuerySet[Event]:
    return Event.objects.filter(position__gt=begin, position__lte=end)

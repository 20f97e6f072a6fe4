"""Whether the feed follows the ledger. Reads only, a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_

from django.db.models import Model, Q

from events.models.event import Source
from events.models.progress import Cursor, Gap
from events.services import feed, gaps
from events.services.runs import Run
from wallets.models.ledger import Movement
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange

# A change is in the feed within a second. From here on something is wrong (seconds).
BEHIND_AFTER = 10.0

_MODELS: dict[int, type[Model]] = {
    Source.WALLET: Wallet,
    Source.MOVEMENT: Movement,
    Source.TRANSITION: Transition,
    Source.WALLET_CHANGE: WalletChange,
}


@dataclass(frozen=True)
class FeedHealth:
    """How far the feed is: its end, the oldest row that waits, and its gaps."""

    position: int
    behind_seconds: float
    gaps: int

    @property
    def trouble(self) -> str:
        """What is wrong in words; empty if nothing is."""
        if self.behind_seconds <= BEHIND_AFTER:
            return ""
        return f"behind: the oldest change waits for {self.behind_seconds:.0f} s"


def look(now: datetime) -> FeedHealth:
    """Return how far the feed is at this moment of the database's clock."""
    cursors = dict(Cursor.objects.values_list("source", "row_id"))
    late = gaps.Open().by_source()
    oldest = [
        moment
        for source, model in _MODELS.items()
        for moment in _oldest(model, cursors.get(source, 0), late.get(source, []))
    ]
    # A row of the future is of a clock that was set back: it does not wait.
    waits = [(now - moment).total_seconds() for moment in oldest]
    return FeedHealth(feed.last_position(), max([0.0, *waits]), Gap.objects.count())


def _oldest(model: type[Model], cursor: int, late: Sequence[Run]) -> list[datetime]:
    """Return when the oldest row above the cursor was made, and the oldest in a gap.

    Of many gaps only those that are to be looked at now are asked for.
    """
    rows = model._default_manager.values_list("created_at", flat=True)
    found = list(rows.filter(pk__gt=cursor).order_by("pk")[:1])
    if late:
        ids = [Q(pk__range=run) for run in late if run[0] < run[1]]
        alone = Q(pk__in=[first for first, last in late if first == last])
        found += rows.filter(reduce(or_, ids, alone)).order_by("created_at")[:1]
    return found

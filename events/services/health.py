"""Whether the feed follows the ledger. Reads only, a few rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Model

from events.models.event import Source
from events.models.progress import Cursor, Gap
from events.services import feed
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
    oldest = (
        model._default_manager.filter(pk__gt=cursors.get(source, 0))
        .order_by("pk")
        .values_list("created_at", flat=True)
        .first()
        for source, model in _MODELS.items()
    )
    # A row of the future is of a clock that was set back: it does not wait.
    waits = [(now - moment).total_seconds() for moment in oldest if moment]
    return FeedHealth(feed.last_position(), max([0.0, *waits]), Gap.objects.count())

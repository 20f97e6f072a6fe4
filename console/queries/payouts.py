"""The pauses of payouts that have ended. Reads only."""

from __future__ import annotations

from wallets.models.pause import Pause

SHOWN = 20


def earlier_pauses() -> list[Pause]:
    """Return the pauses that have ended, the latest first."""
    return list(Pause.objects.filter(open=None).order_by("-pk")[:SHOWN])

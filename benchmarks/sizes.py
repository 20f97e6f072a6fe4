"""How much each figure takes: enough to mean something, or just enough to see it run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Seconds are of one measurement, of which there is one a round."""

    rounds: int
    seconds: float
    wallets: int
    drain: int
    late: int
    late_seconds: int
    past: tuple[int, int]
    memory: int
    # Seconds between two ticks of Beat.
    tick: int


FULL = Size(
    rounds=3,
    seconds=8,
    wallets=10_000,
    drain=5_000,
    late=500,
    late_seconds=60,
    past=(10_000, 1_000_000),
    memory=100_000,
    tick=10,
)
SHORT = Size(
    rounds=1,
    seconds=0.5,
    wallets=50,
    drain=60,
    late=5,
    late_seconds=1,
    past=(200, 1_000),
    memory=200,
    tick=1,
)

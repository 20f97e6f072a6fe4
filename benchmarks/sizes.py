"""The sizes of a run: FULL for figures, QUICK for a first look, SHORT for tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The numbers of a run.

    Each endpoint has `turns` of this many `seconds`, and each drain has `rounds`.
    `movements` are of the wallet whose list and statement are read. `past` has the
    numbers of deposits in the two databases that are compared; each has as many pending
    withdrawals.
    """

    turns: int
    seconds: float
    rounds: int
    wallets: int
    movements: int
    drain: int
    late: int
    late_seconds: int
    past: tuple[int, int]
    memory: int
    # Seconds between two ticks of Beat.
    tick: int


FULL = Size(
    turns=6,
    seconds=4,
    rounds=3,
    wallets=10_000,
    movements=10_000,
    drain=5_000,
    late=500,
    late_seconds=60,
    past=(10_000, 1_000_000),
    memory=100_000,
    tick=10,
)
QUICK = Size(
    turns=1,
    seconds=2,
    rounds=1,
    wallets=10_000,
    movements=10_000,
    drain=1_500,
    late=100,
    late_seconds=10,
    past=(10_000, 100_000),
    memory=10_000,
    tick=2,
)
SHORT = Size(
    turns=1,
    seconds=0.2,
    rounds=1,
    wallets=50,
    movements=50,
    drain=60,
    late=5,
    late_seconds=1,
    past=(200, 1_000),
    memory=200,
    tick=1,
)

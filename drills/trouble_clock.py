"""Faults of clocks: a host's or the database's clock steps away and later back.

A step is longer than every wait of the drill's short times and shorter than its
patience at the end, so that rows with future times become due before that.
"""

from __future__ import annotations

from drills.clock_shim import SteppedClock
from drills.nemesis import Act, Fault, Nemesis

STEPS = (2.0, 15.0, 60.0)


class ClockTrouble(Nemesis):
    """Steps the clock of one program alone."""

    def step_clock(self) -> Fault:
        """Step a random program's clock, forward or back."""
        name = self._random.choice(sorted(self._system.clocks))
        clock = self._system.clocks[name]
        return f"{_kind(name)} clock stepped", self._step(clock)

    def step_database_clock(self) -> Fault:
        """Step the database's clock. SQLite has none of its own."""
        return "database clock stepped", self._step(self._system.clocks["database"])

    def _step(self, clock: SteppedClock) -> Act:
        ahead = self._random.choice(STEPS) * self._random.choice((-1, 1))
        seconds = self._random.uniform(1, 25)

        def act() -> object:
            if clock.offset:
                return False
            clock.step_to(ahead)
            self._later(seconds, lambda: clock.step_to(0))
            return True

        return act


def _kind(name: str) -> str:
    """Return the kind of a program: its name without its number."""
    return {"api": "API", "beat": "Beat"}.get(name := name.partition("-")[0], name)

"""A schedule of faults, repeatable by its seed, executed in time.

Each fault ends: killed processes are started again, frozen ones resume, the bank's
faults are switched off. After `relent` there is no fault.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from drills.process import Process
from drills.system import System

Act = Callable[[], object]
# A drawn fault: its name and its action, which returns False if there is nothing to
# hurt.
Fault = tuple[str, Act]
Kind = Callable[[], Fault]


@dataclass(order=True)
class _Due:
    """An action at a moment of the run."""

    at: float
    order: int
    name: str = field(compare=False)
    act: Act = field(compare=False)


class Nemesis(ABC):
    """Executes faults from the main thread: `step` does what is due."""

    def __init__(self, system: System, *, seed: int, seconds: float) -> None:
        self._system = system
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._order = itertools.count()
        self._due: list[_Due] = []
        self._began = time.monotonic()
        self.done: Counter[str] = Counter()
        self.last = "nothing yet"
        # Processes that are stopped or frozen on purpose, until the fault's end.
        self._hurt: set[str] = set()
        # What the faults themselves have found, and their threads.
        self.wrongs: list[str] = []
        self.threads: list[threading.Thread] = []
        self._plan(seconds)

    def _plan(self, seconds: float) -> None:
        """Draw the whole schedule before it begins, so that the seed repeats it."""
        kinds = self.kinds()
        weights = [weight for _, weight in kinds]
        at = 2.0
        while at < seconds:
            ((kind, _),) = self._random.choices(kinds, weights=weights)
            name, act = kind()
            self._at(at, name, act)
            at += self._random.uniform(0.5, 3.5)

    @abstractmethod
    def kinds(self) -> list[tuple[Kind, int]]:
        """The kinds of faults with their relative frequencies."""

    # --- carrying out ---------------------------------------------------------------

    def step(self) -> None:
        """Do what is due."""
        while self._due and self._due[0].at <= time.monotonic() - self._began:
            due = heapq.heappop(self._due)
            if due.act() is not False and due.name:
                self.done[due.name] += 1
                self.last = due.name

    def relent(self) -> None:
        """Begin no more faults; end all that have begun."""
        ends = [due for due in self._due if not due.name]
        self._due.clear()
        for due in sorted(ends):
            due.act()
        for thread in self.threads:
            thread.join(timeout=60)

    @property
    def spared(self) -> list[Process]:
        """Return the processes that must be running."""
        return [p for p in self._system.processes if p.name not in self._hurt]

    def _at(self, at: float, name: str, act: Act) -> None:
        heapq.heappush(self._due, _Due(at, next(self._order), name, act))

    def _later(self, seconds: float, act: Act) -> None:
        """Schedule the end of a fault; it has no name."""
        self._at(time.monotonic() - self._began + seconds, "", act)

    def _hurt_for(self, process: Process, seconds: float, hurt: Act, heal: Act) -> bool:
        """Hurt a healthy process, and heal it later."""
        if process.name in self._hurt:
            return False
        self._hurt.add(process.name)

        def end() -> None:
            heal()
            self._hurt.discard(process.name)

        hurt()
        self._later(seconds, end)
        return True

    def _restart(self, process: Process, seconds: float) -> bool:
        return self._hurt_for(process, seconds, process.kill, process.start)

    def _freeze(self, process: Process, seconds: float) -> bool:
        return self._hurt_for(process, seconds, process.freeze, process.thaw)

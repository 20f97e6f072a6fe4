"""Sweeps one database: many crash points at the same time, each in a slot of its own.

A slot is a database and a bank simulator. This process imports Django once and forks for
each point, so that a point costs milliseconds of work; what takes time is waiting for
leases to end, which many slots do together.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import django

django.setup()

from django.core import checks  # noqa: E402 (needs the line above)
from django.db import connection  # noqa: E402

from drills import databases, point  # noqa: E402
from drills.bank import FAULTS, KINDS, TYPICAL_FAULTS, Simulator  # noqa: E402
from drills.broken import BROKEN  # noqa: E402
from drills.crash_sweep import options_of  # noqa: E402
from drills.forking import die_with_parent, fork  # noqa: E402
from drills.point import Point, Verdict  # noqa: E402
from drills.totals import Totals  # noqa: E402

# A story may have a few events more than the one that was counted: threads and clocks.
MORE_EVENTS = 20
# A database is emptied after so many points: a small one is verified faster.
POINTS_BEFORE_EMPTYING = 25
PROGRESS_SECONDS = 5.0
SWEPT = ("kill", "error", "soft-limit", "freeze")


class Slot:
    """A database and a bank, used by one crash point at a time."""

    def __init__(self, number: int, database: str, folder: Path) -> None:
        self.database = database
        self.folder = folder / f"slot-{number}"
        self.folder.mkdir()
        self.bank = Simulator(self.folder)
        self._uses = 0

    def start(self, at: Point) -> int:
        """Run a crash point in a process of its own; return its pid."""
        self._uses += 1
        emptied = self._uses % POINTS_BEFORE_EMPTYING == 0
        return fork(lambda: self._run(at, emptied))

    def _run(self, at: Point, emptied: bool) -> None:
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if emptied:
            databases.use(self.database)
            databases.empty()
        verdict = point.run(at, self.database, self.bank)
        (self.folder / "verdict").write_text(json.dumps(asdict(verdict)))

    def verdict(self, at: Point) -> Verdict:
        """What the process wrote; one that wrote nothing is wrong."""
        file = self.folder / "verdict"
        try:
            verdict = Verdict(**{**json.loads(file.read_text()), "point": at})
            file.unlink()
        except FileNotFoundError:
            verdict = Verdict(at, wrong=["the run did not come to its end"])
        if verdict.wrong:
            log = (self.folder / "log").read_text(errors="replace")
            verdict.wrong += [f"  {line}" for line in log.splitlines()[-15:]]
        return verdict


class Sweep:
    """All crash points of the stories, as many at a time as there are slots."""

    def __init__(self, stories: list[Point], sample: int | None, seed: int) -> None:
        self._waiting = deque(stories)
        self._sample = sample
        self._seed = seed
        self._counted: dict[Point, int] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def run(self, slots: list[Slot], limit: int | None) -> Iterator[Verdict]:
        """Yield a verdict for each point, as they come."""
        free, started = list(slots), 0
        running: dict[int, tuple[Slot, Point]] = {}
        while running or (self._waiting and (limit is None or started < limit)):
            while free and self._waiting and (limit is None or started < limit):
                slot, at = free.pop(), self._waiting.popleft()
                running[slot.start(at)] = (slot, at)
                started += 1
            pid, _ = os.waitpid(-1, 0)
            if pid not in running:
                raise RuntimeError("a bank simulator has ended")
            slot, at = running.pop(pid)
            free.append(slot)
            verdict = slot.verdict(at)
            self._plan_more(verdict)
            yield verdict

    def _plan_more(self, verdict: Verdict) -> None:
        at = verdict.point
        story = replace(at, at=0)
        if at.at == 0:
            count = self._counted[story] = verdict.events
            # Before the first call nobody knows what is wrong with the bank.
            start = 1 if at.fault == "normal" else max(1, verdict.first_call)
            step = 1
            if self._sample:
                step = max(1, (count - start) // self._sample)
            numbers = range(start + self._seed % step, count + 1, step)
            # In front, so that one story is finished before the next begins.
            self._waiting.extendleft(replace(story, at=n) for n in reversed(numbers))
        elif (
            verdict.struck
            and not self._sample
            and self._counted.get(story, 10**9)
            <= at.at
            < self._counted[story] + MORE_EVENTS
        ):
            self._waiting.appendleft(replace(story, at=at.at + 1))


def stories_of(options: argparse.Namespace) -> list[Point]:
    """Every combination that is asked for."""
    return [
        Point(fault, kind, action, options.at or 0)
        for action in options.action or SWEPT
        for kind in options.bank or KINDS
        for fault in options.fault or _faults_of(kind, action)
    ]


def _faults_of(kind: str, action: str) -> list[str]:
    """All faults for the bank that can do everything, and for kills.

    Faults that leave the same trace (paid or not, answered or not) are the same to what
    comes after the HTTP client, so the others live one of each.
    """
    all_faults = kind == "able" and action == "kill"
    return list(FAULTS) if all_faults else list(TYPICAL_FAULTS)


def main() -> int:
    options = options_of(sys.argv[1:])
    # The databases are dropped in every case.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    die_with_parent(os.getppid(), signal.SIGTERM)
    problems = [check for check in checks.run_checks() if check.id == "wallets.E001"]
    if problems:
        raise SystemExit(f"the short times are not in order: {problems}")
    if options.broken:
        BROKEN[options.broken]()
    name, folder = options.database[-1], Path(os.environ["DRILL_FOLDER"])
    prefix = str(connection.settings_dict["NAME"])
    made = databases.Databases(prefix, options.slots)
    slots: list[Slot] = []
    # What is here now is never garbage: looking at it would copy every page in each fork.
    gc.collect()
    gc.freeze()
    try:
        made.create()
        slots += [Slot(n, each, folder) for n, each in enumerate(made.names)]
        for slot in slots:
            slot.bank.wait()
        totals = _sweep(name, options, slots)
    finally:
        for slot in slots:
            slot.bank.stop()
        made.drop()
    (folder / "report.json").write_text(json.dumps(totals.dump()))
    return 0


def _sweep(name: str, options: argparse.Namespace, slots: list[Slot]) -> Totals:
    sweep = Sweep(stories_of(options), options.sample, options.seed)
    totals, said, began = Totals(), 0.0, time.monotonic()
    for verdict in sweep.run(slots, options.limit):
        at = verdict.point
        line = totals.line(name, at.kind, at.fault, at.action)
        line.points += 1
        line.struck += verdict.struck
        line.reviewed += verdict.reviewed
        line.wrong += bool(verdict.wrong)
        line.seconds += verdict.seconds
        if verdict.wrong:
            print(f"\nWRONG {name}: {at} ({verdict.label})", flush=True)
            print("\n".join(f"  {sentence}" for sentence in verdict.wrong), flush=True)
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            print(
                f"{name}: {totals.points} points, {totals.struck} struck,"
                f" {totals.wrong} wrong, {sweep.waiting} known to come;"
                f" {(said - began) / totals.points * 1000:.0f} ms each; {at}",
                flush=True,
            )
    return totals


if __name__ == "__main__":
    sys.exit(main())

"""Sweeps one database: many crash points at the same time, each in its own slot.

A slot is a database, a bank simulator, and a process that goes on after each crash.
This process imports Django once and forks those, and they fork the process that
crashes. So a point costs some hundredths of a second of work. Most of the time is
waiting for leases to end, which many slots do at the same time.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path

import django

django.setup()

from django.core import checks  # noqa: E402 (needs the line above)
from django.db import connection  # noqa: E402

from drills import books, clock_shim, databases, point  # noqa: E402
from drills.bank import TWINS, Simulator  # noqa: E402
from drills.broken import BROKEN  # noqa: E402
from drills.crash_sweep import options_of  # noqa: E402
from drills.forking import die_with_parent, fork  # noqa: E402
from drills.point import Point, Verdict  # noqa: E402
from drills.stories import stories_of  # noqa: E402
from drills.totals import Totals  # noqa: E402

# A scenario may have a few more events than the counted one: threads and clocks.
MORE_EVENTS = 60
# The books of this many points of a slot are verified together: it takes longer than most
# points. Then the database is emptied, because a small one is verified faster.
POINTS_VERIFIED = 10
# Longer than any run; a longer one is an error.
RUN_SECONDS = 120
PROGRESS_SECONDS = 5.0

# Of the verdict about the books of the last points.
NOWHERE = Point("normal", "any", "verify", 0)


class Slot:
    """A database and a bank, used by one crash point at a time."""

    def __init__(self, number: int, database: str, folder: Path) -> None:
        self.database = database
        self.folder = folder / f"slot-{number}"
        self.folder.mkdir()
        self.bank = Simulator(self.folder)
        self._pipe: Connection | None = None

    def verify(self) -> Verdict | None:
        """Verify the books of the last points; None if there were none."""
        if self._pipe is None:
            return None
        self._pipe.send(None)
        return self.verdict(NOWHERE, self._pipe)

    def start(self, at: Point) -> Connection:
        """Start a crash point; output on the pipe means that it has ended."""
        if self._pipe is None:
            self._pipe, theirs = Pipe()
            fork(lambda: self._serve(theirs))
            theirs.close()
        self._pipe.send(at)
        return self._pipe

    def _serve(self, pipe: Connection) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        log = os.open(self.folder / "log", flags)
        os.dup2(log, 1)
        os.dup2(log, 2)
        databases.use(self.database)
        if not clock_shim.missing():
            clock_shim.SteppedClock(self.folder, "own").adopt()
        for uses in itertools.count(1):
            at: Point | None = pipe.recv()
            os.ftruncate(log, 0)
            signal.alarm(RUN_SECONDS)
            verdict = point.run(at, self.bank) if at else Verdict(NOWHERE)
            if at is None or uses % POINTS_VERIFIED == 0:
                verdict.wrong += [
                    f"of the last {POINTS_VERIFIED} points: {wrong}"
                    for wrong in books.wrong_books()
                ]
                databases.empty()
            pipe.send(verdict)
            signal.alarm(0)

    def verdict(self, at: Point, pipe: Connection) -> Verdict:
        """Return the verdict of the process; its death is an error."""
        try:
            verdict: Verdict = pipe.recv()
        except EOFError:
            self._pipe = None
            verdict = Verdict(at, wrong=["the run did not come to its end"])
        if verdict.wrong:
            log = (self.folder / "log").read_text(errors="replace")
            verdict.wrong += [f"  {line}" for line in log.splitlines()[-15:]]
        return verdict


class Sweep:
    """All crash points of the scenarios, as many at a time as there are slots."""

    def __init__(self, stories: list[Point], sample: int | None, seed: int) -> None:
        self._waiting = deque(stories)
        self._sample = sample
        self._seed = seed
        self._counted: dict[Point, int] = {}
        self._traces: dict[Point, int] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def run(self, slots: list[Slot], limit: int | None) -> Iterator[Verdict]:
        """Yield a verdict for each point, in the order of completion."""
        free, started = list(slots), 0
        running: dict[Connection, tuple[Slot, Point]] = {}
        while running or (self._waiting and (limit is None or started < limit)):
            while free and self._waiting and (limit is None or started < limit):
                slot, at = free.pop(), self._waiting.popleft()
                running[slot.start(at)] = (slot, at)
                started += 1
            over = wait_for_any(list(running))
            for pipe in [pipe for pipe in running if pipe in over]:
                slot, at = running.pop(pipe)
                verdict = slot.verdict(at, pipe)
                free.append(slot)
                self._plan_more(verdict)
                yield verdict
        for slot in slots:
            verified = slot.verify()
            if verified and verified.wrong:
                yield verified

    def _plan_more(self, verdict: Verdict) -> None:
        at = verdict.point
        story = replace(at, at=0)
        if at.at == 0:
            count = self._counted[story] = verdict.events
            self._traces[story] = verdict.trace
            self._check_twin(story)
            start = _first_of(verdict)
            step = 1
            if self._sample:
                step = max(1, (count - start) // self._sample)
            numbers = range(start + self._seed % step, count + 1, step)
            # In front, so that one scenario is finished before the next one begins.
            self._waiting.extendleft(replace(story, at=n) for n in reversed(numbers))
        elif (
            verdict.struck
            and not self._sample
            and self._counted.get(story, 10**9)
            <= at.at
            < self._counted[story] + MORE_EVENTS
        ):
            self._waiting.appendleft(replace(story, at=at.at + 1))

    def _check_twin(self, story: Point) -> None:
        """Sweep a scenario completely if its events differ from its twin's."""
        if story.action != "kill-in-call" or story.fault not in TWINS:
            return
        twin = replace(story, fault=TWINS[story.fault], action="kill")
        if self._traces.get(twin) != self._traces[story]:
            self._waiting.append(replace(story, action="kill"))


def _first_of(verdict: Verdict) -> int:
    """Return the first event that needs its own run.

    Before the first call a fault of the bank has no effect on the interrupted process,
    and the process that goes on finds a healthy bank: the same under every fault.
    """
    return 1 if verdict.point.fault == "normal" else max(1, verdict.first_call)


def main() -> int:
    options = options_of(sys.argv[1:])
    # The databases are always dropped.
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
    # Exclude present objects from garbage collection, which would copy every page in
    # each fork.
    gc.collect()
    gc.freeze()
    try:
        made.create()
        slots += [Slot(n, each, folder) for n, each in enumerate(made.names)]
        for slot in slots:
            slot.bank.wait()
        totals = _sweep(name, options, slots)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
        told = at.action if at.story == "payouts" else f"{at.action} {at.story}"
        line = totals.line(name, at.kind, at.fault, told)
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

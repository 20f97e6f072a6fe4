"""`make sabotage`: disable each guard in a scratch copy; the tests must fail.

    make sabotage ARGS="--only 'quiet period' --only movement_leg_unique"
    make sabotage ARGS="--jobs 2"       two at a time, each in a copy of its own

It does so with every guard of `drills/guards.py` and every constraint of the models.
Prints guard → first failing test. Exit code 1: the tests pass without a guard, its text
is not found, or they fail with all guards.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import starmap
from pathlib import Path
from queue import SimpleQueue

from drills import settings
from drills.guard import SQLITE, Guard
from drills.guards import GUARDS
from drills.process import ROOT
from drills.scratch import TESTS_FAILED, Outcome, Scratch, needs_keys, path_of

# What is done in a copy; it returns how many guards were not caught.
Work = Callable[[Scratch], int]
# For the tests of all guards together.
WHOLE_SECONDS = 3600
# Parts of the paths of what makes the schema of a database.
MAKES_SCHEMA = ("/migrations/", "/models/", "/utils/database/", "/apps.py")
CONSTRAINT = re.compile(r'name="(\w+)"')
REFUSALS = (
    "test_constraints.py::ConstraintTest"
    "::test_refuses_the_insert_of_a_row_that_breaks_it"
)

# In the scratch copy the models lose a constraint, and a last migration drops it.
READY = """    def ready(self) -> None:
        for model in self.get_models():
            model._meta.constraints = [
                each for each in model._meta.constraints if each.name != {name!r}
            ]
"""
DROP = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("wallets", {last!r})]
    operations = [migrations.RemoveConstraint({model!r}, {name!r})]
"""


def missing(tests: str) -> list[str]:
    """Return the tests whose file does not exist: without a path all tests would run."""
    return [
        each
        for each in tests.split()
        if not (ROOT / path_of(each).partition("::")[0]).exists()
    ]


def constraints() -> dict[str, tuple[Path, str]]:
    """Return every constraint by name: the file of its model, and the model."""
    found = {}
    for file in sorted((ROOT / "wallets" / "models").glob("*.py")):
        # `transaction_rules` has those of Transaction.
        model = file.stem.removesuffix("_rules").title().replace("_", "")
        for line in file.read_text().splitlines():
            if line.startswith("class "):
                model = line.removeprefix("class ").partition("(")[0]
            name = CONSTRAINT.search(line)
            if name and "Index" not in line and _is_constraint(file, name[1]):
                found[name[1]] = (file, model)
    return found


def _is_constraint(file: Path, name: str) -> bool:
    text = file.read_text()
    before = text[: text.index(f'name="{name}"')]
    kinds = [before.rfind(kind) for kind in ("Constraint(", "models.Index(")]
    return kinds[0] > kinds[1]


def sabotage_guard(scratch: Scratch, guard: Guard) -> Outcome | None:
    """Test without the guard; None if its text is not there once, or a test is not."""
    file = scratch.root / guard.file
    whole = file.read_text()
    if whole.count(guard.text) != 1 or missing(guard.tests):
        return None
    file.write_text(whole.replace(guard.text, guard.without))
    migrate = any(part in guard.file for part in MAKES_SCHEMA)
    try:
        return scratch.test(guard.tests, guard.database, migrate=migrate)
    finally:
        file.write_text(whole)


def sabotage_constraint(scratch: Scratch, name: str, model: str) -> Outcome:
    """Test without the constraint, in the models and in the database."""
    folder = scratch.root / "wallets" / "migrations"
    last = sorted(file.stem for file in folder.glob("0*.py"))[-1]
    migration = folder / "9999_sabotage.py"
    apps = scratch.root / "wallets" / "apps.py"
    whole = apps.read_text()
    migration.write_text(DROP.format(last=last, model=model, name=name))
    apps.write_text(
        whole.replace("    def ready(self) -> None:\n", READY.format(name=name), 1)
    )
    try:
        return scratch.test(REFUSALS, SQLITE)
    finally:
        migration.unlink()
        apps.write_text(whole)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", help="the guard of this name")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    options = parser.parse_args(arguments)
    guards = [g for g in GUARDS if not options.only or g.name in options.only]
    named = [
        (name, model)
        for name, (_, model) in constraints().items()
        if not options.only or name in options.only
    ]
    databases = set(settings.answering())
    with Copies(options.jobs) as copies:
        bad = sum(copies.do(_with_all_guards(guards, databases, options.jobs)))
        works = [_guard(guard, guard.database in databases) for guard in guards]
        bad += sum(copies.do([*works, *starmap(_constraint, named)]))
    total = len(guards) + len(named)
    print(f"{total} guards; {bad} not caught" if bad else f"{total} guards, all caught")
    return int(bad > 0 or total == 0)


class Copies:
    """Copies of the repository, each for one work at a time."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> Copies:
        self._folder = tempfile.TemporaryDirectory(prefix="sabotage-")
        folder = Path(self._folder.name)
        self._all = [Scratch(folder / str(number)) for number in range(self._count)]
        self._free: SimpleQueue[Scratch] = SimpleQueue()
        for scratch in self._all:
            self._free.put(scratch)
        self._pool = ThreadPoolExecutor(self._count)
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown()
        for scratch in self._all:
            scratch.end()
        self._folder.cleanup()

    def do(self, works: Iterable[Work]) -> list[int]:
        """Do all of it, as much at a time as there are copies."""
        return list(self._pool.map(self._do, works))

    def _do(self, work: Work) -> int:
        scratch = self._free.get()
        try:
            return work(scratch)
        finally:
            self._free.put(scratch)


def _with_all_guards(
    guards: list[Guard], databases: set[str], jobs: int
) -> Iterator[Work]:
    """The tests must pass before anything is disabled."""
    tests: dict[tuple[str, bool], set[str]] = {}
    for guard in guards:
        if guard.database in databases:
            kind = guard.database, needs_keys(guard.tests)
            tests.setdefault(kind, set()).update(guard.tests.split())
    for (database, _), theirs in tests.items():
        for part in range(jobs):
            if mine := sorted(theirs)[part::jobs]:
                yield partial(_whole, " ".join(mine), database)


def _whole(tests: str, database: str, scratch: Scratch) -> int:
    outcome = scratch.test(tests, database, seconds=WHOLE_SECONDS)
    if outcome.code == 0:
        return 0
    print(
        f"RED WITH ALL GUARDS ({database}): {outcome.first}\n{outcome.output}",
        flush=True,
    )
    return 1


def _guard(guard: Guard, answers: bool) -> Work:
    def work(scratch: Scratch) -> int:
        if not answers:
            print(f"  not tried       {guard.name}: no {guard.database}", flush=True)
            return 0
        return _say(guard.name, sabotage_guard(scratch, guard))

    return work


def _constraint(name: str, model: str) -> Work:
    return lambda scratch: _say(name, sabotage_constraint(scratch, name, model))


def _say(name: str, outcome: Outcome | None) -> int:
    if outcome is None:
        verdict, caught = "NOT FOUND", False
    elif outcome.code == TESTS_FAILED:
        verdict, caught = "caught", True
    else:
        verdict, caught = f"SURVIVED ({outcome.code})", False
    first = outcome.first if outcome else ""
    seconds = f"{outcome.seconds:.0f} s" if outcome else ""
    print(f"  {verdict:<14}  {name}  →  {first}  {seconds}", flush=True)
    return int(not caught)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

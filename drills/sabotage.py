"""`make sabotage`: disable each guard in a scratch copy; the tests must fail.

    make sabotage ARGS="--only 'quiet period' --only movement_leg_unique"
    make sabotage ARGS="--part 1/2"     the first half; another process takes 2/2

It does so with every guard of `drills/guards.py` and every constraint of the models,
one after the other. Prints guard → first failing test. Exit code 1: the tests pass
without a guard, its text is not found, or they fail with all guards.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from drills import settings
from drills.guard import MARIADB, POSTGRESQL, SQLITE, Guard
from drills.guards import GUARDS
from drills.process import ROOT

# For the tests of one guard, and for those of all guards together.
RUN_SECONDS, WHOLE_SECONDS = 600, 3600
# Parts of the paths of what makes the schema of a database.
MAKES_SCHEMA = ("/migrations/", "/models/", "/utils/database/", "/apps.py")
LEFT_OUT = (".git", ".venv", "var", "__pycache__", ".pytest_cache", "staticfiles")
FIRST_FAILURE = re.compile(r"^(?:FAILED|SUBFAILED\S*|ERROR) (\S+)", re.M)
CONSTRAINT = re.compile(r'name="(\w+)"')
TESTS_FAILED = 1  # pytest's code; all others say that nothing was tested
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


@dataclass(frozen=True)
class Outcome:
    """The result of the tests."""

    code: int
    first: str
    seconds: float
    output: str


class Scratch:
    """A copy of the repository that may be changed.

    On SQLite each test begins with a copy of one migrated database, because migrations
    take longer than most tests. A guard that makes the schema needs a new one
    (`MAKES_SCHEMA`); where that was not said, the guard survives, and that is seen.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "copy"
        self._folder = folder
        self._migrated: dict[bool, Path] = {}  # by whether the keys are installed
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT))

    def test(
        self,
        tests: str,
        database: str,
        *,
        migrate: bool = False,
        seconds: float = RUN_SECONDS,
    ) -> Outcome:
        """Run these tests in the copy, on their own database. `migrate`: a new one."""
        with_keys = needs_keys(tests)
        if database != SQLITE or migrate:
            return self._run(tests, database, seconds, "--create-db")
        used = self._folder / "test_drill.sqlite3"
        _remove(used)
        if with_keys not in self._migrated:
            outcome = self._run(tests, database, seconds, "--create-db", "--reuse-db")
            self._migrated[with_keys] = _moved(used, f"migrated-{with_keys}.sqlite3")
            return outcome
        shutil.copyfile(self._migrated[with_keys], used)
        return self._run(tests, database, seconds, "--reuse-db")

    def _run(self, tests: str, database: str, seconds: float, *more: str) -> Outcome:
        began = time.monotonic()
        paths = [path_of(each) for each in tests.split()]
        options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", *more]
        environment = {
            **os.environ,
            "DATABASE_URL": settings.address(database, self._folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"API_AUTH": "keys"} if needs_keys(tests) else {}),
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *paths],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        first = FIRST_FAILURE.search(done.stdout)
        name = first[1].removeprefix("wallets/tests/") if first else ""
        took = time.monotonic() - began
        return Outcome(done.returncode, name, took, done.stdout)


def _remove(database: Path) -> None:
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


def _moved(database: Path, name: str) -> Path:
    """Give the database another name, with all that its log still holds."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.rename(database.with_name(name))


def needs_keys(tests: str) -> bool:
    """Whether these tests are of the application that is installed for keys only."""
    return "access/" in tests


def path_of(test: str) -> str:
    """Return the path of a guard's test from the root of the repository."""
    return test if "/" in test.partition("::")[0] else f"wallets/tests/{test}"


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
    parser.add_argument("--part", type=_part, default=slice(None), help="as 1/2")
    options = parser.parse_args(arguments)
    wanted = [g for g in GUARDS if not options.only or g.name in options.only]
    named = [n for n in constraints() if not options.only or n in options.only]
    wanted, named = wanted[options.part], named[options.part]
    databases = set(settings.answering())
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:
        scratch = Scratch(Path(folder))
        bad = _with_all_guards(scratch, wanted, databases)
        for guard in wanted:
            if guard.database not in databases:
                print(f"  not tried       {guard.name}: no {guard.database}")
                continue
            bad += _say(guard.name, sabotage_guard(scratch, guard))
        for name in named:
            bad += _say(
                name, sabotage_constraint(scratch, name, constraints()[name][1])
            )
    total = len(wanted) + len(named)
    print(f"{total} guards; {bad} not caught" if bad else f"{total} guards, all caught")
    return int(bad > 0 or total == 0)


def _part(text: str) -> slice:
    """Read "1/2" as every second one, from the first."""
    number, of = map(int, text.split("/"))
    if not 1 <= number <= of:
        raise ValueError
    return slice(number - 1, None, of)


def _with_all_guards(scratch: Scratch, guards: list[Guard], databases: set[str]) -> int:
    """The tests must pass before anything is disabled."""
    bad = 0
    kinds = [(one, key) for one in (SQLITE, POSTGRESQL, MARIADB) for key in (0, 1)]
    for database, with_keys in kinds:
        theirs = [
            guard
            for guard in guards
            if guard.database == database and needs_keys(guard.tests) == with_keys
        ]
        tests = sorted({each for g in theirs for each in g.tests.split()})
        if not tests or database not in databases:
            continue
        outcome = scratch.test(" ".join(tests), database, seconds=WHOLE_SECONDS)
        if outcome.code != 0:
            print(
                f"RED WITH ALL GUARDS ({database}): {outcome.first}\n{outcome.output}",
                flush=True,
            )
            bad += 1
    return bad


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

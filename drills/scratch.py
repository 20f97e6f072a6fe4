"""A copy of the repository that may be changed, and its tests."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from drills import settings
from drills.guard import POSTGRESQL, SQLITE
from drills.process import ROOT

PLUGINS = (
    "-p",
    "pytest_django.plugin",
    "-p",
    "pytest_timeout",
    "-p",
    "no:cacheprovider",
)
TESTS_FAILED = 1  # pytest's code; all others say that nothing was tested
RUN_SECONDS = 600  # for the tests of one guard
LEFT_OUT = (".git", ".venv", "var", "__pycache__", ".pytest_cache", "staticfiles")
FIRST_FAILURE = re.compile(r"^(?:FAILED|SUBFAILED\S*|ERROR) (\S+)", re.M)


@dataclass(frozen=True)
class Outcome:
    """The result of the tests."""

    code: int
    first: str
    seconds: float
    output: str


class Scratch:
    """A copy of the repository that may be changed.

    On SQLite and PostgreSQL each test begins with a copy of one migrated database,
    because migrations take longer than most tests. What makes the schema needs a new one
    (`migrate`); where that was not said, the guard survives, and that is seen.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "copy"
        self._folder = folder
        self._migrated: dict[tuple[str, bool], str] = {}  # True: with the keys
        folder.mkdir()
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
        if migrate or database not in (SQLITE, POSTGRESQL):
            return self._run(tests, database, seconds, "--create-db")
        kind = database, needs_keys(tests)
        copies = _Files(self._folder) if database == SQLITE else self._server()
        if kind not in self._migrated:
            outcome = self._run(tests, database, seconds, "--create-db", "--reuse-db")
            self._migrated[kind] = copies.keep(f"migrated_{len(self._migrated)}")
            return outcome
        copies.copy(self._migrated[kind])
        return self._run(tests, database, seconds, "--reuse-db")

    def end(self) -> None:
        """Drop what was kept on a server."""
        for (database, _), kept in self._migrated.items():
            if database == POSTGRESQL:
                self._server().drop(kept)

    def _address(self, database: str) -> str:
        """Return the address of this copy's database; Django adds `test_`."""
        address = settings.address(database, self._folder)
        if database == SQLITE:
            return address
        parts = urlsplit(address)
        return urlunsplit(parts._replace(path=f"{parts.path}_{self._folder.name}"))

    def _server(self) -> _PostgreSQL:
        return _PostgreSQL(self._address(POSTGRESQL))

    def _run(self, tests: str, database: str, seconds: float, *more: str) -> Outcome:
        began = time.monotonic()
        paths = [path_of(each) for each in tests.split()]
        options = ["-q", "-x", "--no-header", *PLUGINS, *more]
        environment = {
            **os.environ,
            "DATABASE_URL": self._address(database),
            "PYTHONDONTWRITEBYTECODE": "1",
            # The plugins of the libraries take longer to import than the tests run.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **({"API_AUTH": "keys"} if needs_keys(tests) else {}),
        }
        try:
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
        except subprocess.TimeoutExpired:
            return Outcome(TESTS_FAILED, "(it never ended)", seconds, "")
        first = FIRST_FAILURE.search(done.stdout)
        name = first[1].removeprefix("wallets/tests/") if first else ""
        took = time.monotonic() - began
        return Outcome(done.returncode, name, took, done.stdout)


class _Files:
    """Copies of a database of SQLite."""

    def __init__(self, folder: Path) -> None:
        self._used = folder / "test_drill.sqlite3"

    def keep(self, name: str) -> str:
        """Give the database another name, with all that its log still holds."""
        with closing(sqlite3.connect(self._used)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return str(self._used.rename(self._used.with_name(name)))

    def copy(self, kept: str) -> None:
        for file in self._used.parent.glob(f"{self._used.name}*"):
            file.unlink()
        shutil.copyfile(kept, self._used)


class _PostgreSQL:
    """Copies of a database of PostgreSQL, made by the server."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._used = f"test_{parts.path.lstrip('/')}"
        self._outside = urlunsplit(
            parts._replace(scheme="postgresql", path="/postgres")
        )

    def keep(self, name: str) -> str:
        kept = f"{self._used}_{name}"
        self._execute(f"ALTER DATABASE {self._used} RENAME TO {kept}")
        return kept

    def copy(self, kept: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {self._used} WITH (FORCE)")
        self._execute(f"CREATE DATABASE {self._used} TEMPLATE {kept}")

    def drop(self, kept: str) -> None:
        for name in (self._used, kept):
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._outside, autocommit=True) as connection:
            connection.execute(statement)


def needs_keys(tests: str) -> bool:
    """Whether these tests are of the application that is installed for keys only."""
    return "access/" in tests


def path_of(test: str) -> str:
    """Return the path of a guard's test from the root of the repository."""
    return test if "/" in test.partition("::")[0] else f"wallets/tests/{test}"

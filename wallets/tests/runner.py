"""How `manage.py test` runs the suite: what is slow is left out, and the last line says so.

What is left is run by several processes, each with a copy of the database.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import traceback
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.runner import (
    DiscoverRunner,
    ParallelTestSuite,
    RemoteTestResult,
    RemoteTestRunner,
    get_max_test_processes,
)

from wallets.tests.marks import SLOW

MOST_PROCESSES = 4


class Failure(Exception):
    """What went wrong in another process: its traceback as text."""


class Result(RemoteTestResult):
    """Sends failures as text: exceptions and traceback objects cannot always be sent."""

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, _as_text(err))

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, _as_text(err))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, _as_text(err))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """Tell a failure as one of the whole test: a subtest cannot always be sent."""
        if err is None:
            return
        told = _as_text(err, f"in {subtest}\n")
        if issubclass(err[0], test.failureException):
            super().addFailure(test, told)
        else:
            super().addError(test, told)


class WorkerRunner(RemoteTestRunner):
    """Runs one class of tests in one of the processes."""

    resultclass = Result

    def run(self, test: Any) -> Any:
        try:
            return super().run(test)
        finally:
            # A process of the pool ends without it, and SQLite would leave files behind.
            connections.close_all()


class Suite(ParallelTestSuite):
    runner_class = WorkerRunner


class Runner(DiscoverRunner):
    """Leaves out slow tests that are only found, and runs those that are asked for.

    A module, a class or a test by its name is asked for; so is all with `--slow` or
    `--tag slow`. A package, a folder, or nothing at all is searched.

    What is searched on SQLite is run by as many processes as there are cores, four at
    most, on Linux, where forking is safe. `--parallel` says another number.
    """

    parallel_test_suite = Suite

    def __init__(
        self, *, slow: bool = False, parallel: int | None = None, **options: Any
    ) -> None:
        super().__init__(parallel=parallel or 0, **options)
        self._options = options
        self._asked_for = slow or SLOW in (options.get("tags") or ())
        self._chooses_processes = parallel is None
        self._left_out = 0

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--slow", action="store_true", help="Run the slow tests too."
        )
        parser.set_defaults(parallel=None)

    def build_suite(self, test_labels: Any = None, **kwargs: Any) -> Any:
        labels = list(test_labels or ["."])
        searched = any(_is_searched(label) for label in labels)
        if self._chooses_processes and searched:
            self.parallel = self._processes()
        if self._asked_for or not searched:
            return super().build_suite(labels, **kwargs)
        quiet = {"verbosity": 0, "parallel": 0, "shuffle": False}
        everything = DiscoverRunner(**self._options | quiet).build_suite(labels)
        self.exclude_tags = {*self.exclude_tags, SLOW}
        suite = super().build_suite(labels, **kwargs)
        self._left_out = everything.countTestCases() - suite.countTestCases()
        return suite

    def _processes(self) -> int:
        """How many processes there are where nobody has said it."""
        watched = self.pdb or self.debug_sql
        if watched or sys.platform != "linux" or connection.vendor != "sqlite":
            return 1
        # What newer Pythons do instead makes no copy of what is set up here.
        multiprocessing.set_start_method("fork", force=True)
        return min(get_max_test_processes(), MOST_PROCESSES)

    def setup_databases(self, **kwargs: Any) -> Any:
        processes, self.parallel = self.parallel, 0
        made = super().setup_databases(**kwargs)
        self.parallel = processes
        for database, _, is_its_first_name in made:
            if is_its_first_name and processes > 1:
                self._copy(database)
        return made

    def _copy(self, database: BaseDatabaseWrapper) -> None:
        """Make a copy of the test database for each process."""
        # Until then SQLite has its newest pages in a file beside the one that is copied.
        database.close()
        for number in range(1, self.parallel + 1):
            suffix = str(number)
            if database.vendor == "sqlite":
                name = database.creation.get_test_db_clone_settings(suffix)["NAME"]
                # An earlier run that was killed has left pages that are none of the copy.
                Path(f"{name}-wal").unlink(missing_ok=True)
            database.creation.clone_test_db(
                suffix, verbosity=self.verbosity, keepdb=self.keepdb
            )

    def run_tests(self, test_labels: Iterable[str], **kwargs: Any) -> int:
        failures = super().run_tests(test_labels, **kwargs)
        if self._left_out:
            self.log(
                f"{self._left_out} slow tests were left out; `make test` runs them."
            )
        return failures


def _as_text(err: Any, prefix: str = "") -> tuple[type[Failure], Failure, None]:
    text = prefix + "".join(traceback.format_exception(*err))
    return Failure, Failure(text), None


def _is_searched(label: str) -> bool:
    """Whether the tests under this label are found, not named: a folder, a package."""
    if Path(label).is_dir():
        return True
    try:
        spec = find_spec(label)
    except ImportError:  # the label of a class or of a test
        return False
    return spec is not None and spec.submodule_search_locations is not None

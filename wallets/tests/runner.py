"""The runner of `manage.py test`: it omits slow tests, and its last line says so.

Several processes run the other tests, each with a copy of the database.
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
    """A failure in another process: its traceback as text."""


class Result(RemoteTestResult):
    """Sends failures as text, because not every exception can be pickled."""

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, _as_text(err))

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, _as_text(err))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, _as_text(err))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """Report a subtest as its test, because not every subtest can be pickled."""
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
            # The pool's processes do not do this; SQLite would leave files behind.
            connections.close_all()


class Suite(ParallelTestSuite):
    runner_class = WorkerRunner


class Runner(DiscoverRunner):
    """Omits slow tests, unless they are named.

    A label of a module, a class or a test names its tests; `--slow` and `--tag slow`
    name all. With a package, a folder or no label the tests are only searched.

    On SQLite and Linux, where forking is safe, searched tests run in as many processes
    as there are cores, at most four. `--parallel` sets another number.
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
        """Return the default number of processes."""
        watched = self.pdb or self.debug_sql
        if watched or sys.platform != "linux" or connection.vendor != "sqlite":
            return 1
        # The default of newer Pythons, forkserver, does not inherit this setup.
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
        """Copy the test database for each process."""
        # Until it is closed, SQLite has its newest pages in another file.
        database.close()
        for number in range(1, self.parallel + 1):
            suffix = str(number)
            if database.vendor == "sqlite":
                name = database.creation.get_test_db_clone_settings(suffix)["NAME"]
                # A killed earlier run may have left this file for another database.
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
    """Whether the label is a folder or a package, whose tests are only searched."""
    if Path(label).is_dir():
        return True
    try:
        spec = find_spec(label)
    except ImportError:  # the label of a class or of a test
        return False
    return spec is not None and spec.submodule_search_locations is not None

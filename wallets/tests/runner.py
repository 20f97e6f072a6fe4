"""How `manage.py test` runs the suite: what is slow is left out, and the last line says so."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.test.runner import DiscoverRunner

from wallets.tests.marks import SLOW


class Runner(DiscoverRunner):
    """Leaves out slow tests that are only found, and runs those that are asked for.

    A module, a class or a test by its name is asked for; so is all with `--slow` or
    `--tag slow`. A package, a folder, or nothing at all is searched.
    """

    def __init__(self, *, slow: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._options = options
        self._asked_for = slow or SLOW in (options.get("tags") or ())
        self._left_out = 0

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--slow", action="store_true", help="Run the slow tests too."
        )

    def build_suite(self, test_labels: Any = None, **kwargs: Any) -> Any:
        labels = list(test_labels or ["."])
        if self._asked_for or not any(_is_searched(label) for label in labels):
            return super().build_suite(labels, **kwargs)
        quiet = {"verbosity": 0, "parallel": 0, "shuffle": False}
        everything = DiscoverRunner(**self._options | quiet).build_suite(labels)
        self.exclude_tags = {*self.exclude_tags, SLOW}
        suite = super().build_suite(labels, **kwargs)
        self._left_out = everything.countTestCases() - suite.countTestCases()
        return suite

    def run_tests(self, test_labels: Iterable[str], **kwargs: Any) -> int:
        failures = super().run_tests(test_labels, **kwargs)
        if self._left_out:
            self.log(
                f"{self._left_out} slow tests were left out; `make test` runs them."
            )
        return failures


def _is_searched(label: str) -> bool:
    """Whether the tests under this label are found, not named: a folder, a package."""
    if Path(label).is_dir():
        return True
    try:
        spec = find_spec(label)
    except ImportError:  # the label of a class or of a test
        return False
    return spec is not None and spec.submodule_search_locations is not None

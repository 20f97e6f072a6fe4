"""`manage.py test`: which tests it omits, which it runs, where, and its output."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from django.test import SimpleTestCase

from wallets.tests import marks
from wallets.tests.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = """
from django.test import SimpleTestCase
from wallets.tests import marks

class SampleTest(SimpleTestCase):
    def test_quick(self): pass
    @marks.slow
    def test_slow(self): pass

@marks.slow
class SlowTest(SimpleTestCase):
    def test_all_of_it(self): pass
"""
# Neither the test case nor the exception can be pickled.
RED_SAMPLE = """
import threading
from django.test import TestCase
from wallets.models.wallet import Wallet

class Trouble(Exception):
    def __init__(self, what, lock): super().__init__(what)

class RedTest(TestCase):
    def setUp(self): self.lock = threading.Lock()
    def test_red(self): self.assertEqual(Wallet.objects.count(), 5)
    def test_trouble(self): raise Trouble("a sad story", self.lock)
    def test_part(self):
        for number in range(9):
            with self.subTest(number=number, lock=self.lock):
                self.assertNotEqual(number, 7)

class GreenTest(TestCase):
    def test_green(self): Wallet.objects.create()
"""
QUICK, SLOW, ALL_SLOW = "test_quick", "test_slow", "test_all_of_it"
LAST_LINE = "2 slow tests were left out; `make test` runs them."


@marks.slow
class RunnerTest(SimpleTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.path = folder.name
        # A new name for each test: a process keeps its imported modules.
        cls.package = f"sample_{os.getpid()}"
        for name, text in ((cls.package, SAMPLE), ("red", RED_SAMPLE)):
            package = Path(folder.name) / name
            package.mkdir()
            (package / "__init__.py").touch()
            (package / "test_sample.py").write_text(text)
        sys.path.insert(0, folder.name)
        cls.addClassCleanup(sys.path.remove, folder.name)

    def found(self, label: str, **options: object) -> set[str]:
        """Return the names of the tests that it would run for this label."""

        def names(suite: unittest.TestSuite) -> Iterator[str]:
            for test in suite:
                if isinstance(test, unittest.TestSuite):
                    yield from names(test)
                else:
                    yield test.id().rpartition(".")[2]

        return set(names(Runner(verbosity=0, **options).build_suite([label])))

    def run_it(self, *arguments: str, code: int = 0) -> list[str]:
        """Return the lines of a run in a new process, with its own database."""
        done = subprocess.run(
            [sys.executable, "manage.py", "test", *arguments],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": self.path,
                "DB_NAME": f"{self.path}/db.sqlite3",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout.strip().splitlines()

    def test_leaves_out_what_is_slow_and_only_found(self) -> None:
        for label in (self.package, f"{self.path}/{self.package}"):
            with self.subTest(label):
                self.assertEqual(self.found(label), {QUICK})

    def test_runs_what_is_named(self) -> None:
        module = f"{self.package}.test_sample"
        for label, tests in {
            module: {QUICK, SLOW, ALL_SLOW},
            f"{module}.SampleTest": {QUICK, SLOW},
            f"{module}.SampleTest.test_slow": {SLOW},
            f"{module}.SlowTest": {ALL_SLOW},
        }.items():
            with self.subTest(label):
                self.assertEqual(self.found(label), tests)

    def test_runs_all_that_is_asked_for_by_an_option(self) -> None:
        self.assertEqual(self.found(self.package, slow=True), {QUICK, SLOW, ALL_SLOW})
        self.assertEqual(self.found(self.package, tags=["slow"]), {SLOW, ALL_SLOW})

    def test_leaves_out_other_tags_as_before(self) -> None:
        self.assertEqual(self.found(self.package, exclude_tags=["odd"]), {QUICK})
        self.assertEqual(
            self.found(self.package, exclude_tags=["slow"], slow=True), {QUICK}
        )

    def test_says_at_last_how_many_it_left_out_and_who_runs_them(self) -> None:
        self.assertEqual(self.run_it(self.package, "-v2")[-1], LAST_LINE)

    @marks.slow
    def test_says_nothing_when_it_left_out_nothing(self) -> None:
        lines = self.run_it(self.package, "--slow")
        self.assertNotIn("left out", "\n".join(lines))

    def test_runs_the_specifications_classes_and_tests_by_their_names(self) -> None:
        label, test = "wallets.tests.WithdrawalServiceTest", "test_execute_success"
        self.assertIn(test, self.found(label))
        self.assertEqual(self.found(f"{label}.{test}"), {test})

    def test_shows_what_went_wrong_in_another_process(self) -> None:
        shown = "\n".join(self.run_it("red", "--parallel", "2", "-v2", code=1))
        for said in (
            "test_green (red.test_sample.GreenTest.test_green) ... ok",
            "assertEqual(Wallet.objects.count(), 5)",
            "AssertionError: 0 != 5",
            "red.test_sample.Trouble: a sad story",
            "(number=7, lock=<unlocked",
            "FAILED (failures=2, errors=1)",
        ):
            self.assertIn(said, shown)
        self.assertEqual(list(Path(self.path).glob("*sqlite3*")), [])

    def test_uses_several_processes_for_searched_tests_without_a_debugger(self) -> None:
        with mock.patch.dict(os.environ, {"DJANGO_TEST_PROCESSES": "9"}):
            module = f"{self.package}.test_sample"
            for label, options, processes in (
                ("red", {}, 2),  # two classes
                ("red", {"parallel": 1}, 1),
                ("red", {"pdb": True}, 1),
                ("red.test_sample", {}, 0),
                (module, {"parallel": 2}, 2),
            ):
                with self.subTest(label, **options):
                    runner = Runner(verbosity=0, **options)
                    runner.build_suite([label])
                    self.assertEqual(runner.parallel, processes)

"""The clock that drills step: every program sees the step, on its wall clock only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock, skipIf

from django.test import SimpleTestCase

from drills import clock_shim
from drills.clock_shim import SteppedClock
from wallets.tests.marks import slow

# Answers each line with the values of all clocks that our programs may read.
CLOCKS = """
import ctypes, datetime, json, sqlite3, subprocess, sys, threading, time

class Moment(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

libc, semaphore = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.sem_init(semaphore, 0, 0)

def wait_until(at):
    moment = Moment(int(at), int(at % 1 * 1e9))
    libc.sem_timedwait(semaphore, ctypes.byref(moment))

def seconds_of(function, *arguments):
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began

database = sqlite3.connect(":memory:")
for line in sys.stdin:
    ((days,),) = database.execute("SELECT julianday('now') - 2440587.5")
    child = [sys.executable, "-c", "import time; print(time.time())"]
    print(json.dumps({
        "time": time.time(),
        "datetime": datetime.datetime.now().timestamp(),
        "sqlite": days * 86400,
        "child": float(subprocess.check_output(child)),
        "coarse": time.clock_gettime(5),
        "monotonic": time.monotonic(),
        "boottime": time.clock_gettime(time.CLOCK_BOOTTIME),
        "wait": seconds_of(threading.Event().wait, 0.05),
        "wait_until": seconds_of(wait_until, time.time() + 0.05),
    }), flush=True)
"""
WALL = ("time", "datetime", "sqlite", "child", "coarse")
# A busy machine pauses for seconds. Steps are much longer, to distinguish them.
STALL = 60.0


@slow
@skipIf(clock_shim.missing(), clock_shim.missing())
class SteppedClockTest(SimpleTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.clock = SteppedClock(cls.folder, "program")
        cls.program = cls.start(cls.clock)

    def setUp(self) -> None:
        self.clock.step_to(0)

    @classmethod
    def start(cls, clock: SteppedClock) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-c", CLOCKS],
            env={**os.environ, **clock.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for end in (program.wait, program.kill):
            cls.addClassCleanup(end)
        for pipe in (program.stdin, program.stdout):
            cls.addClassCleanup(pipe.close)
        return program

    def ask(self, program: subprocess.Popen[str] | None = None) -> dict[str, Any]:
        """Return the program's clocks; wall clocks as seconds ahead of true time."""
        program = program or self.program
        time.sleep(2 * clock_shim.SEEN_AFTER)
        before = time.time()
        program.stdin.write("\n")
        program.stdin.flush()
        found = json.loads(program.stdout.readline())
        return {k: v - before if k in WALL else v for k, v in found.items()}

    def assert_ahead(self, seconds: float) -> dict[str, Any]:
        found = self.ask()
        for name in WALL:
            with self.subTest(name):
                self.assertAlmostEqual(found[name], seconds, delta=STALL)
        return found

    def test_is_true_until_it_is_stepped(self) -> None:
        self.assert_ahead(0)

    def test_steps_a_running_program_both_ways(self) -> None:
        for offset in (3600, -3600, 31536000, 0):
            with self.subTest(offset=offset):
                self.clock.step_to(offset)
                self.assert_ahead(offset)

    def test_adds_one_step_to_another(self) -> None:
        self.clock.step(-600)
        self.clock.step(4200.5)
        self.assertEqual(self.clock.offset, 3600.5)
        self.assert_ahead(3600)

    def test_leaves_elapsed_time_alone(self) -> None:
        first = self.ask()
        self.clock.step_to(-86400)
        second = self.ask()
        for name, own in (
            ("monotonic", time.monotonic()),
            ("boottime", time.clock_gettime(time.CLOCK_BOOTTIME)),
        ):
            self.assertLess(first[name], second[name])
            self.assertLessEqual(second[name], own)

    def test_lets_a_wait_last_as_long_as_it_says(self) -> None:
        for offset in (86400, -86400):
            self.clock.step_to(offset)
            found = self.ask()
            for name in ("wait", "wait_until"):
                with self.subTest(name, offset=offset):
                    self.assertGreaterEqual(found[name], 0.04)
                    self.assertLess(found[name], STALL)

    def test_is_another_one_for_another_program(self) -> None:
        other = self.start(SteppedClock(self.folder, "other"))
        self.clock.step_to(3600)
        self.assertAlmostEqual(self.ask(other)["time"], 0, delta=STALL)
        self.assert_ahead(3600)


class MissingCompilerTest(SimpleTestCase):
    def test_is_said_in_a_plain_sentence(self) -> None:
        with mock.patch("shutil.which", return_value=None):
            self.assertIn("install gcc", clock_shim.missing())
            with self.assertRaisesRegex(RuntimeError, "install gcc"):
                clock_shim.library()

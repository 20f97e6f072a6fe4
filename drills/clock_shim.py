"""Wall clocks that a drill can step, one for each program that it starts.

`clock_shim.c` is compiled once, into `var/`, and preloaded by the programs that get the
variables of a `SteppedClock`. Their children inherit the clock. Monotonic clocks are
not changed, as when an operator or a time server sets a clock.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from drills.process import ROOT

VARIABLE = "DRILL_CLOCK_FILE"
SOURCE = Path(__file__).with_suffix(".c")
# A running process sees a step after this many seconds at the latest.
SEEN_AFTER = 0.05


def missing() -> str:
    """Return why no clock can be stepped on this machine; "" if one can."""
    if sys.platform != "linux":
        return "clocks are stepped by LD_PRELOAD, which needs Linux"
    return "" if _compiler() else "clocks are stepped by a C library: install gcc"


def library() -> Path:
    """Return the compiled library; compile it if there is none of this source.

    :raises RuntimeError: it cannot be compiled here; `missing` says why.
    """
    if reason := missing():
        raise RuntimeError(reason)
    source = SOURCE.read_bytes()
    name = hashlib.sha256(source + platform.machine().encode()).hexdigest()[:16]
    folder = ROOT / "var" / "drills"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"clock_shim-{name}.so"
    if not made.exists():
        # Several processes may compile it at the same time: each its own file, the last
        # one stays.
        own = folder / f"{made.name}.{os.getpid()}"
        flags = ["-shared", "-fPIC", "-O2"]
        command = [_compiler(), *flags, "-o", str(own), str(SOURCE), "-ldl", "-pthread"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{SOURCE.name} does not compile:\n{done.stderr}")
        own.replace(made)
    return made


def _compiler() -> str:
    return shutil.which("gcc") or shutil.which("cc") or ""


class SteppedClock:
    """One wall clock: true time, until it is stepped."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"clock-{name}"
        self._offset = 0.0
        self.step_to(0)

    @property
    def offset(self) -> float:
        """By how many seconds it is ahead of true time."""
        return self._offset

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of a program that uses this clock.

        :raises RuntimeError: no clock can be stepped on this machine.
        """
        libraries = [str(library()), *os.environ.get("LD_PRELOAD", "").split()]
        return {
            "LD_PRELOAD": ":".join(libraries),
            VARIABLE: str(self._file),
        }

    def adopt(self) -> None:
        """Make it the clock of this process, and of its later forks.

        Only if this process was started with the variables of another one.
        """
        os.environ[VARIABLE] = str(self._file)

    def step_to(self, offset: float) -> None:
        """Set it this many seconds ahead of true time (negative: behind)."""
        beside = self._file.with_name(f"{self._file.name}.new")
        beside.write_text(f"{offset:.9f}\n")
        beside.replace(self._file)  # a reader sees the old one or the new one, whole
        self._offset = offset

    def step(self, seconds: float) -> None:
        """Move it by this many seconds, forward or back."""
        self.step_to(self._offset + seconds)


def step_my_own(seconds: float) -> None:
    """Step the clock of this process and of all that share it; wait until all see it.

    :raises RuntimeError: this process has no clock that can be stepped.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        raise RuntimeError(f"{VARIABLE} names no file: this clock cannot be stepped")
    file = Path(path)
    SteppedClock(file.parent, file.name.removeprefix("clock-")).step_to(seconds)
    time.sleep(2 * SEEN_AFTER)

"""The virtual environment `.venv`: created once, changed only when a pin changes.

It never touches packages outside of `.venv`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops import ROOT, VAR, Trouble
from ops.steps import last_line, run_logged

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VAR / "install.log"
# The further groups of a database's engine, or of the scheme of its URL.
DRIVERS = {"postgres": "postgresql", "mysql": "mysql"}


def requirements(name: str) -> Path:
    """Return the pinned file of a dependency group; "run" is the plain one."""
    suffix = "" if name == "run" else f"-{name}"
    return ROOT / f"requirements{suffix}.txt"


def install(*names: str) -> Path:
    """Make sure that `.venv` has these groups; return its Python.

    :raises Trouble: the environment cannot be created, or a package not installed.
    """
    with one_at_a_time():
        if not _usable():
            _create()
        for name in names:
            _install_group(name)
    return PYTHON


def drivers(engine: str) -> list[str]:
    """Return the groups with a database engine's driver; SQLite needs none."""
    return [group for name, group in DRIVERS.items() if name in engine]


def database_engine() -> str:
    """Return the engine of the environment, or the scheme of its URL; "" if none."""
    scheme = os.environ.get("DATABASE_URL", "").partition(":")[0]
    return scheme or os.environ.get("DB_ENGINE", "")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two `make` must not install into the same environment at the same time."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _usable() -> bool:
    """Whether there is an environment whose Python starts and can install."""
    probe = [str(PYTHON), "-c", "import pip"]
    return PYTHON.exists() and not subprocess.run(probe, capture_output=True).returncode


def _create() -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    _say(f"making .venv with Python {version}")
    if run_logged([sys.executable, "-m", "venv", "--clear", str(VENV)], LOG):
        raise Trouble(
            f"Python {version} could not make .venv ({last_line(LOG)}); Debian: "
            f"apt install python{version}-venv; whole log: {LOG}"
        )


def _install_group(name: str) -> None:
    file = requirements(name)
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    stamp = _stamp(name)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _say(f"installing {file.name} into .venv")
    began = time.monotonic()
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    if run_logged([*pip, "--no-input", "-r", str(file)], LOG):
        raise Trouble(
            f"{file.name} could not be installed: {last_line(LOG, 'ERROR')} - check "
            f"the network and pip's settings; whole log: {LOG}"
        )
    stamp.write_text(wanted)
    _say(f"installed in {time.monotonic() - began:.0f} s")


def _stamp(name: str) -> Path:
    return VENV / f".installed-{name}"


def _say(line: str) -> None:
    print(line, flush=True)

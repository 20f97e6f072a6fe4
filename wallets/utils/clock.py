"""Elapsed time: a clock that only goes forward, also while a process is frozen."""

from __future__ import annotations

import functools
import hashlib
import os
import time
import uuid
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/time")
_OFFSETS = Path("/proc/self/timens_offsets")
# The names of clocks that only one process knows begin with this.
_OF_PROCESS = "process "


def elapsed() -> float:
    """Return the seconds since a fixed moment. A sender measures its lease with it."""
    return time.clock_gettime(_CLOCK)


@functools.cache
def machine() -> str:
    """Return the name of the clock that `elapsed` reads.

    Two values of `elapsed` may be subtracted if the name is the same: in other
    processes, and after a restart of the process. After a restart of the machine it is
    another clock. If the system does not identify its clock, the name is this process's
    own (and that of its forked children); then less is known, but nothing wrong.
    """
    return _name_of_clock() or f"{_OF_PROCESS}{uuid.uuid4().hex}"


def ends_with_process(name: str) -> bool:
    """Whether no later process can read the clock with this name."""
    return name.startswith(_OF_PROCESS)


def _name_of_clock() -> str | None:
    """Return the kernel's boot id and time namespace; a namespace shifts the clock."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    try:
        boot = uuid.UUID(_BOOT_ID.read_text(encoding="ascii").strip())
        namespace = os.readlink(_NAMESPACE) if _NAMESPACE.is_symlink() else ""
        # A namespace's number may be reused with other offsets.
        offsets = _OFFSETS.read_text(encoding="ascii") if _OFFSETS.exists() else ""
    except (OSError, ValueError):
        return None
    words = f"{boot} {namespace} {' '.join(offsets.split())}"
    return hashlib.sha256(words.encode()).hexdigest()[:32]

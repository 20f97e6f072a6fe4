"""A clock that only goes forward, also while the process or the machine is frozen."""

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


def elapsed() -> float:
    """Seconds since some fixed moment. A sender measures its lease with it."""
    return time.clock_gettime(_CLOCK)


@functools.cache
def machine() -> str:
    """The name of the clock that `elapsed` reads, the same in all processes that read it.

    Its readings may be subtracted from each other wherever the name is the same: in other
    processes, and after a restart of the process. After a restart of the machine it is
    another clock. Where the system does not tell, the name is this process's own (and of
    the children that it forks): then less is known, and nothing that is wrong.
    """
    return _name_of_clock() or uuid.uuid4().hex


def _name_of_clock() -> str | None:
    """The kernel's boot, and the time namespace, which moves the clock in a container."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    try:
        boot = uuid.UUID(_BOOT_ID.read_text(encoding="ascii").strip())
        namespace = os.readlink(_NAMESPACE) if _NAMESPACE.is_symlink() else ""
        # A namespace's number may be given again to one with other offsets.
        offsets = _OFFSETS.read_text(encoding="ascii") if _OFFSETS.exists() else ""
    except (OSError, ValueError):
        return None
    words = f"{boot} {namespace} {' '.join(offsets.split())}"
    return hashlib.sha256(words.encode()).hexdigest()[:32]

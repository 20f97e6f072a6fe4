"""The number of drains that one worker runs at a time; the rest of its pool stays free.

A slot is a lock on one byte of a file that the worker's processes share. The kernel
releases it when its holder ends, and no clock is involved. Threads of one process share
its locks, so a set decides among them. Outside of a worker nothing is bounded.
"""

from __future__ import annotations

import fcntl
import tempfile
import threading
from typing import IO, Any

# The distance between the first bytes of two kinds.
_APART = 1000

_limits: dict[str, int] = {}
_file: IO[Any] | None = None
_taken: set[int] = set()  # by threads of this process
_changing = threading.Lock()


def bound(limits: dict[str, int]) -> None:
    """Set the number of slots of each kind; {}: no bounds.

    Call in a worker before it forks.
    """
    global _file
    _file = _file or tempfile.TemporaryFile()  # noqa: SIM115 (as long as the worker)
    _limits.clear()
    _limits.update(limits)


class Slot:
    """A slot, until it is released."""

    def __init__(self, byte: int | None) -> None:
        self._byte = byte

    def release(self) -> None:
        """Release the slot; a second call changes nothing."""
        with _changing:
            byte, self._byte = self._byte, None
            if byte is not None and _file is not None:
                fcntl.lockf(_file, fcntl.LOCK_UN, 1, byte)
                _taken.discard(byte)


def bounded() -> bool:
    """Whether this process belongs to a worker with bounded drains."""
    return bool(_limits)


def take(kind: str) -> Slot | None:
    """Take a slot of this kind; None if all are taken. Never waits."""
    if kind not in _limits or _file is None:
        return Slot(None)
    first = list(_limits).index(kind) * _APART
    with _changing:
        for byte in range(first, first + _limits[kind]):
            if byte not in _taken and _locked(_file, byte):
                _taken.add(byte)
                return Slot(byte)
    return None


def _locked(file: IO[Any], byte: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError:
        return False
    return True

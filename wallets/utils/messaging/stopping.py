"""Lets a worker's children know that it is being stopped, and sleep until then.

A pipe, because it survives every kill: it holds no lock that a dead child could keep, and
the parent's death closes it. The byte is never read, so that each child sees it.
"""

from __future__ import annotations

import os
import select

_reading, _writing = os.pipe()
_parent = os.getpid()
_in_parent = True


def announce() -> None:
    """Say that the worker stops. Called in the parent."""
    if _in_parent:
        os.write(_writing, b".")


def in_pool_process() -> None:
    """Drop a child's copy of the writing end, so that a dead parent is noticed.

    Some pools have no processes of their own: their one is the parent, and its pipe must
    not be taken for that of a parent that died.
    """
    global _in_parent
    if _in_parent and os.getpid() != _parent:
        _in_parent = False
        os.close(_writing)


def wait(seconds: float) -> bool:
    """Sleep, at most so many seconds; return whether the worker is being stopped."""
    readable, _, _ = select.select([_reading], [], [], max(0.0, seconds))
    return bool(readable)

"""Tells a worker's children that the worker is being stopped.

By a pipe, which survives every kill: a dead child cannot keep a lock, and the parent's
death closes it. The byte is never read, so every child sees it.
"""

from __future__ import annotations

import os
import select

_reading, _writing = os.pipe()
_parent = os.getpid()
_in_parent = True


def announce() -> None:
    """Announce that the worker stops. Call in the parent."""
    if _in_parent:
        os.write(_writing, b".")


def in_pool_process() -> None:
    """Close a child's copy of the writing end, so that the parent's death is noticed.

    In pools without processes of their own the process is the parent, and keeps it.
    """
    global _in_parent
    if _in_parent and os.getpid() != _parent:
        _in_parent = False
        os.close(_writing)


def wait(seconds: float) -> bool:
    """Sleep at most so many seconds; return whether the worker is being stopped."""
    readable, _, _ = select.select([_reading], [], [], max(0.0, seconds))
    return bool(readable)

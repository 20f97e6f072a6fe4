"""Forked children: starting Django costs a second, a fork costs milliseconds."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when `parent` ends; end if it has."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os._exit(1)


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked child and return its pid.

    The child ends with its work, or with this process. Call it from the main thread of
    a process without open connections whose other threads, if any, are idle: the child
    does not have them.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)
        work()
    except BaseException:  # noqa: BLE001 (a forked child must end here, whatever comes)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

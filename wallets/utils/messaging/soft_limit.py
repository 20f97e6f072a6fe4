"""Celery's soft time limit as something to ask for, where an exception would do harm.

The limit is a signal whose handler raises, wherever the main thread is: between a COMMIT
and the call it allows, or with answers in hand that are nowhere else.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_deferring = False
_struck = False


def struck() -> bool:
    """Whether the limit has struck while it was put off."""
    return _struck


@contextmanager
def deferred() -> Iterator[None]:
    """Put the limit off: its exception is raised when the (outermost) block ends.

    The block must ask `struck` and come to an end: the hard limit kills. Without effect
    in other threads than the main one, and where nothing handles the signal.
    """
    global _deferring, _struck
    handler = _handler()
    if _deferring or handler is None:
        yield
        return
    _deferring, _struck = True, False
    signal.signal(signal.SIGUSR1, _note)
    try:
        yield
    finally:
        over, _deferring, _struck = _struck, False, False
        signal.signal(signal.SIGUSR1, handler)
        if over:
            handler(signal.SIGUSR1, None)


def _note(*_: object) -> None:
    global _struck
    _struck = True


def _handler() -> Callable[..., Any] | None:
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGUSR1)
    return handler if callable(handler) else None

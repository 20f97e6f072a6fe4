"""Celery's soft time limit as a flag, where its exception would do harm.

The limit is a signal whose handler raises anywhere in the main thread: between a COMMIT
and the call that it allows, or while answers are not recorded yet.
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
    """Whether the limit has passed while it was deferred."""
    return _struck


@contextmanager
def deferred() -> Iterator[None]:
    """Defer the limit: its exception is raised at the end of the (outermost) block.

    The block must check `struck` and end in time, because the hard limit kills. No
    effect in other threads than the main one, or without a handler.
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

"""Deadlines for waits that are frequent and rarely late.

`asyncio.timeout` creates a timer for each wait, which takes longer than most waits.
Here one timer checks all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

# The longest delay of a time-out, in seconds.
TICK_SECONDS = 0.25

T = TypeVar("T")


class Watch:
    """Ends waits that take too long. One for each event loop."""

    def __init__(self) -> None:
        # The deadline of each waiting task; a task has one wait at a time.
        self._waiting: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._ticks = False

    async def until(self, moment: float, awaited: Awaitable[T]) -> T:
        """Await it, at most until this time of the event loop's clock.

        :raises TimeoutError: it took too long and was cancelled.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (only tasks await)
        self._waiting[task] = moment
        if not self._ticks:
            self._ticks = True
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        try:
            return await awaited
        except asyncio.CancelledError:
            if task not in self._late or _is_cancelled_by_others(task):
                raise
            raise TimeoutError from None
        finally:
            del self._waiting[task]
            self._late.discard(task)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, moment in self._waiting.items():
            if moment <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._ticks = bool(self._waiting)
        if self._ticks:
            loop.call_later(TICK_SECONDS, self._tick)


def _is_cancelled_by_others(task: asyncio.Task[object]) -> bool:
    """Undo our own cancellation; return whether there is another one."""
    uncancel = getattr(task, "uncancel", None)  # Python 3.10 does not count them
    return uncancel is not None and uncancel() > 0

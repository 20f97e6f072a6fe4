"""Calls that wait for locks, one thread for each resource. Does not know about money.

The waiting is done in threads; the rest belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

# The most calls that wait, in threads and in queues, and the most in one queue.
MAX_WAITING = 512
MAX_BEHIND = 128


class TooManyWaiting(Exception):
    """Too many calls wait; this one was not done, or not all of it."""


@dataclass(eq=False)
class _Wait:
    work: Callable[[], Any]
    resources: frozenset[Hashable]
    answer: asyncio.Future[Any]
    # Numbers of moments: when it came, and when it got its thread.
    came: int
    began: int = 0


@dataclass
class Waiters:
    """Does calls that wait for locks. Of those that name one resource, one has a thread.

    The others wait in a queue without a thread, in the order in which they came, so
    calls for other resources do not wait for them. An exception of a type in
    `concerns_all`, such as a lock time-out, is also the result of the calls behind that
    would wait for the same: they name all of its resources, or have waited longer.
    """

    executor: Executor
    concerns_all: tuple[type[Exception], ...] = ()
    _behind: dict[Hashable, list[_Wait]] = field(default_factory=dict)
    _count: int = 0
    _moments: itertools.count[int] = field(default_factory=itertools.count)

    def run(
        self,
        work: Callable[[], Any],
        resources: Collection[Hashable],
        answer: asyncio.Future[Any],
    ) -> None:
        """Do the work, and give its result, or the exception, to `answer`.

        `resources` are those that it may wait for. The result is `TooManyWaiting` if too
        many calls wait, for one of them or in all.
        """
        behind = (self._behind.get(one, ()) for one in resources)
        if self._count >= MAX_WAITING or any(len(q) >= MAX_BEHIND for q in behind):
            give(answer, TooManyWaiting())
            return
        self._count += 1
        came = next(self._moments)
        self._place(_Wait(work, frozenset(resources), answer, came))

    def _place(self, wait: _Wait) -> None:
        """Start the work, or put it behind the one that has one of its resources."""
        for resource in wait.resources:
            if resource in self._behind:
                self._behind[resource].append(wait)
                return
        self._behind |= {resource: [] for resource in wait.resources}
        wait.began = next(self._moments)
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self.executor, wait.work)
        done.add_done_callback(partial(self._end, wait))

    def _end(self, ended: _Wait, done: asyncio.Future[Any]) -> None:
        self._count -= 1
        error = done.exception()
        give(ended.answer, done.result() if error is None else error)
        queues = [self._behind.pop(resource) for resource in ended.resources]
        in_vain = isinstance(error, self.concerns_all)
        for one in sorted(itertools.chain(*queues), key=attrgetter("came")):
            too_long = one.came < ended.began
            if in_vain and (too_long or ended.resources <= one.resources):
                self._count -= 1
                give(one.answer, error)
            else:
                self._place(one)


def give(answer: asyncio.Future[Any], result: Any) -> None:
    """Set the result, unless the caller has gone away.

    An exception becomes the result, which the caller raises; only one that ends the
    process is set as an exception.
    """
    if answer.done():
        return
    if isinstance(result, Exception) or not isinstance(result, BaseException):
        answer.set_result(result)
    else:
        answer.set_exception(result)

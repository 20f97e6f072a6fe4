"""Batches: concurrent calls of one kind become one call. Does not know about money.

A batcher belongs to one event loop; the work runs in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from wallets.utils.waiters import TooManyWaiting, Waiters, give

__all__ = ["Batcher", "Single", "TooManyWaiting", "Work"]

logger = logging.getLogger(__name__)

C = TypeVar("C")
R = TypeVar("R")

# Seconds that a batch waits for as many calls as the last one had. Under load the same
# clients call again, and a few large batches cost less than many small ones.
GATHER_SECONDS = 0.006
# Seconds after which the next batch starts beside a slow one, and the most batches at a
# time.
SLOW_SECONDS = 0.25
MAX_RUNNING = 4
# The most calls that wait for a batch.
MAX_WAITING = 512


@dataclass(eq=False)
class _Call(Generic[C, R]):
    asked: C
    answer: asyncio.Future[R | Exception]


@dataclass(frozen=True)
class Work(Generic[C, R]):
    """The functions of a batcher, and the meaning of their results.

    `many` returns one result for each call, in order, and waits for no lock; `alone`
    does one call, and waits. Both may block; they run in threads. If `is_busy` is true
    for a result, the call is done alone. An exception of a type in `concerns_all` is
    the result of every call of the batch; after any other exception each call is done
    alone.

    `resources` are what a call may wait for, such as rows. It and `alone` also get the
    busy result of the call, or None.
    """

    many: Callable[[Sequence[C]], Sequence[R | Exception]]
    alone: Callable[[C, R | Exception | None], R | Exception]
    resources: Callable[[C, R | Exception | None], Collection[Hashable]]
    is_busy: Callable[[R | Exception], bool] = lambda answer: False
    concerns_all: tuple[type[Exception], ...] = ()


@dataclass
class Batcher(Generic[C, R]):
    """Collects calls into batches. Each call gets its result or `TooManyWaiting`.

    One batch runs at a time; more only while one is slow, or if a batch is one call. A
    call without a result from its batch is done alone, by `others`, where it delays only
    calls that wait for the same. A caller that goes away undoes nothing.
    """

    work: Work[C, R]
    executor: Executor
    others: Waiters
    max_batch: int = 64
    _waiting: list[_Call[C, R]] = field(default_factory=list)
    _running: int = 0
    # The number of calls that the next batch expects, and how long it waits for them.
    _expected: int = 0
    _gather_until: float = 0.0
    _may_begin_at: float = 0.0
    _looks_at: float = float("inf")
    _timer: asyncio.TimerHandle | None = None

    async def ask(self, call: C) -> R:
        """Do the call and return its result.

        :raises TooManyWaiting: nothing was done.
        :raises Exception: the result is an exception.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyWaiting
        loop = asyncio.get_running_loop()
        mine = _Call[C, R](call, loop.create_future())
        self._waiting.append(mine)
        self._begin_if_due()
        return _result(await mine.answer)

    def _begin_if_due(self) -> None:
        """Start a batch, or set a timer for when one may be due."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting:
            begins_at = self._begins_at()
            if begins_at > now:
                self._look_again_at(begins_at)
                return
            self._begin(now)
        self._look_again_at(float("inf"))

    def _begins_at(self) -> float:
        if self._running >= MAX_RUNNING:
            return float("inf")  # when one has ended
        if self._running and self.max_batch > 1:
            return self._may_begin_at
        enough = min(self._expected, self.max_batch)
        return 0.0 if len(self._waiting) >= enough else self._gather_until

    def _look_again_at(self, when: float) -> None:
        if when == self._looks_at:
            return
        self._looks_at = when
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when < float("inf"):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(when, self._look_again)

    def _look_again(self) -> None:
        self._looks_at = float("inf")
        self._begin_if_due()

    def _begin(self, now: float) -> None:
        batch = self._waiting[: self.max_batch]
        del self._waiting[: self.max_batch]
        self._running += 1
        self._may_begin_at = now + SLOW_SECONDS
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(
            self.executor, self.work.many, [call.asked for call in batch]
        )
        done.add_done_callback(lambda done: self._end(batch, done))

    def _end(
        self,
        batch: list[_Call[C, R]],
        done: asyncio.Future[Sequence[R | Exception]],
    ) -> None:
        self._running -= 1
        self._expected = len(batch) + len(self._waiting)
        loop = asyncio.get_running_loop()
        self._gather_until = loop.time() + GATHER_SECONDS
        error = done.exception()
        if error is None:
            for call, answer in zip(batch, done.result(), strict=True):
                if self.work.is_busy(answer):
                    _do_alone(self.work, self.others, call, answer)
                else:
                    give(call.answer, answer)
        elif isinstance(error, self.work.concerns_all) or len(batch) == 1:
            for call in batch:
                give(call.answer, error)
        else:
            logger.warning("a batch of %d failed: %s", len(batch), type(error).__name__)
            for call in batch:
                _do_alone(self.work, self.others, call)
        self._begin_if_due()


@dataclass
class Single(Generic[C, R]):
    """Does each call alone, for work that always waits. Otherwise as `Batcher`."""

    work: Work[C, R]
    others: Waiters

    async def ask(self, call: C) -> R:
        """Do the call and return its result, as `Batcher.ask`."""
        mine = _Call[C, R](call, asyncio.get_running_loop().create_future())
        _do_alone(self.work, self.others, mine)
        return _result(await mine.answer)


def _do_alone(
    work: Work[C, R],
    others: Waiters,
    call: _Call[C, R],
    busy: R | Exception | None = None,
) -> None:
    resources = work.resources(call.asked, busy)
    others.run(partial(work.alone, call.asked, busy), resources, call.answer)


def _result(answer: R | Exception) -> R:
    if isinstance(answer, Exception):
        raise answer
    return answer

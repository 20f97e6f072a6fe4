"""One transaction for whoever asks at the same time.

While one caller's transaction is under way, others wait in line; the next one then does
the work of all of them in a transaction of its own, and tells each its own answer after
the COMMIT. Who asks alone does not wait for anybody. Where many asked a moment ago, the
next transaction waits a moment for them to come again: a few large transactions are far
less work than many small ones (PostgreSQL's `commit_delay` does so for its log).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


# Seconds that a group waits for as many as were here a moment ago.
GATHER_SECONDS = 0.003


class _Caller(Generic[Q, A]):
    """A thread in line: woken with an answer, or to do the work."""

    def __init__(self, request: Q) -> None:
        self.request = request
        self.answers: list[A] = []
        self.leads = False
        # Held until somebody wakes the thread: an Event does the same with ten calls.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self, seconds: float = -1) -> None:
        self._asleep.acquire(timeout=seconds)

    def wake(self) -> None:
        self._asleep.release()


class GroupCommit(Generic[Q, A]):
    """Calls `work` with the requests of at most `most` threads; it answers each, in order.

    `work` must answer a request's own trouble, not raise it: what it raises concerns all,
    and each thread then asks `work` for its own request alone. One `work` runs at a time.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Q]], Sequence[A]],
        *,
        most: int,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._work = work
        self._most = most
        self._gather_seconds = gather_seconds
        self._lock = threading.Lock()
        self._line: deque[_Caller[Q, A]] = deque()
        self._busy = False
        # As many as the last transaction left behind: its own, and those in line.
        self._expected = 1
        self._gathering: _Caller[Q, A] | None = None

    def run(self, request: Q) -> A:
        """Return the answer to the request, after the COMMIT that made it true."""
        me: _Caller[Q, A] = _Caller(request)
        with self._lock:
            if self._busy:
                self._line.append(me)
                if self._gathering and self._all_here():
                    self._gathering.wake()
                    self._gathering = None
            else:
                self._busy = me.leads = True
        if not me.leads:
            me.wait()
        if me.leads:
            self._lead(me)
        if me.answers:
            return me.answers[0]
        return self._work([request])[0]

    def _all_here(self) -> bool:
        return 1 + len(self._line) >= min(self._expected, self._most)

    def _gather(self, me: _Caller[Q, A]) -> None:
        """Wait until as many as expected are in line, but not for long."""
        with self._lock:
            if self._all_here():
                return
            self._gathering = me
        me.wait(self._gather_seconds)
        with self._lock:
            self._gathering = None

    def _lead(self, me: _Caller[Q, A]) -> None:
        self._gather(me)
        with self._lock:
            others = [
                self._line.popleft()
                for _ in range(min(len(self._line), self._most - 1))
            ]
        group = [me, *others]
        try:
            answers = self._work([caller.request for caller in group])
            for caller, answer in zip(group, answers, strict=True):
                caller.answers.append(answer)
        except Exception:
            if not others:
                raise
            # Each asks alone, and gets its own error.
            for caller in group:
                caller.answers.clear()
        finally:
            # Whatever ends this thread, nobody waits for ever.
            self._hand_over(len(group))
            for caller in others:
                caller.wake()

    def _hand_over(self, done: int) -> None:
        with self._lock:
            self._expected = done + len(self._line)
            if self._line:
                successor = self._line.popleft()
                successor.leads = True
                successor.wake()
            else:
                self._busy = False

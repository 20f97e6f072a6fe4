"""One transaction for whoever asks at the same time.

While one caller's transaction is under way, others wait in line; the next one then does
the work of all of them in a transaction of its own, and tells each its own answer after
the COMMIT. Who asks alone does not wait for anybody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class _Caller(Generic[Q, A]):
    """A thread in line: woken with an answer, or to do the work."""

    def __init__(self, request: Q) -> None:
        self.request = request
        self.answers: list[A] = []
        self.leads = False
        self._woken = threading.Event()

    def wait(self) -> None:
        self._woken.wait()
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()


class GroupCommit(Generic[Q, A]):
    """Calls `work` with the requests of at most `most` threads; it answers each, in order.

    `work` must answer a request's own trouble, not raise it: what it raises concerns all,
    and each thread then asks `work` for its own request alone. One `work` runs at a time.
    """

    def __init__(
        self, work: Callable[[Sequence[Q]], Sequence[A]], *, most: int
    ) -> None:
        self._work = work
        self._most = most
        self._lock = threading.Lock()
        self._line: deque[_Caller[Q, A]] = deque()
        self._busy = False

    def run(self, request: Q) -> A:
        """Return the answer to the request, after the COMMIT that made it true."""
        me: _Caller[Q, A] = _Caller(request)
        with self._lock:
            if self._busy:
                self._line.append(me)
            else:
                self._busy = me.leads = True
        if not me.leads:
            me.wait()
        if me.leads:
            self._lead(me)
        if me.answers:
            return me.answers[0]
        return self._work([request])[0]

    def _lead(self, me: _Caller[Q, A]) -> None:
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
            self._hand_over()
            for caller in others:
                caller.wake()

    def _hand_over(self) -> None:
        with self._lock:
            if self._line:
                successor = self._line.popleft()
                successor.leads = True
                successor.wake()
            else:
                self._busy = False

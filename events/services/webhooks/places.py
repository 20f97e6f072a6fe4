"""Which endpoints have how many of the calls of one process.

A receiver that hangs holds each of its calls until the deadline. If such calls could take
all places, every other endpoint would wait for as long. So an endpoint that hangs has one
place, places are kept for the first calls of others, and a call that has lasted for
SLOW_SECONDS takes none any more.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from wallets.utils import clock

# A call that lasts longer is slow; one that then fails shows that its endpoint hangs.
SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class _Call:
    endpoint: int
    began: float


class Places:
    """The calls under way: up to `size`, and up to `size` more that are slow.

    A `lane` names calls that follow each other and take one place together. Thread-safe.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._calls: dict[Hashable, _Call] = {}
        # Endpoints whose last slow call failed, with no success since.
        self._hangs: set[int] = set()

    def begin(self, lane: Hashable, endpoint: int) -> None:
        """Note that a call begins; an earlier one of its lane has ended."""
        with self._lock:
            self._calls[lane] = _Call(endpoint, clock.elapsed())

    def end(self, lane: Hashable, *, received: bool) -> None:
        """Note that the last call of a lane has ended."""
        with self._lock:
            call = self._calls.pop(lane, None)
            if call is None:
                return
            if received:
                self._hangs.discard(call.endpoint)
            elif _is_slow(call, clock.elapsed()):
                self._hangs.add(call.endpoint)

    def turn(self, endpoints: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Serve each endpoint once, those that work first: endpoint and its room.

        The room is that of the moment at which it is asked for.
        """
        waiting = list(endpoints)
        with self._lock:
            hanging = self._hanging(clock.elapsed())
        work = [one for one in waiting if one not in hanging]
        others = [one for one in waiting if one in hanging]
        for at, endpoint in enumerate(work + others):
            room = self.room(endpoint, waiting=max(1, len(work) - at))
            if room > 0:
                yield endpoint, room

    def room(self, endpoint: int, *, waiting: int) -> int:
        """Return of how many more lanes of the endpoint a call may begin now.

        `waiting`: how many endpoints that work share what there is, this one included.
        """
        with self._lock:
            now = clock.elapsed()
            calls, hanging = list(self._calls.values()), self._hanging(now)
        fresh = [call for call in calls if not _is_slow(call, now)]
        slow = len(calls) - len(fresh)
        free = self._size - len(fresh) - max(0, slow - self._size)
        is_first = all(call.endpoint != endpoint for call in calls)
        if endpoint in hanging:
            # Half of the places stays for those that work.
            theirs = sum(call.endpoint in hanging for call in fresh)
            return int(is_first and free > 0 and theirs < max(1, self._size // 2))
        # A quarter is kept for endpoints of which nothing is under way.
        spare = free - self._size // 4
        further = max(1, spare // waiting) if spare > 0 else 0
        return max(further, int(is_first and free > 0))

    def _hanging(self, now: float) -> set[int]:
        slow = {one.endpoint for one in self._calls.values() if _is_slow(one, now)}
        return slow | self._hangs


def _is_slow(call: _Call, now: float) -> bool:
    return now - call.began > SLOW_SECONDS

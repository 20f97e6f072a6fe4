"""Wallets that somebody else holds: their payouts wait, and nobody else's with them.

A deposit holds its wallet for milliseconds, a thousand of them in one request hold theirs
for longer, and many requests may stand in line before us. So a sweep takes what is free and
looks at the rest again. What stays busy is waited for in a thread of its own: who only looks
may never come to a wallet for which others always wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from django.db import connections

from wallets.utils import clock

logger = logging.getLogger(__name__)

# A wallet is only looked at for so long; then a thread waits for it.
LOOKING_SECONDS = 0.05
# While a thread waits, the others are looked at again so often.
AGAIN_SECONDS = 0.05
# For the wallets that are beyond these, a sweep goes on looking.
MAX_WAITING = 3

# What waits for wallets beside their numbers: answers of the bank, to be recorded.
ANSWERS = 0


class BusyWallets:
    """The busy wallets of one sweep, and the threads that wait for them.

    Each thread has a connection to the database for as long as it waits.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # by wallet: when it was found busy
        self._waiting: dict[int, Future[None]] = {}
        # One more, so that answers never wait for a place.
        self._pool = ThreadPoolExecutor(MAX_WAITING + 1, thread_name_prefix="busy")

    def waited_for(self) -> set[int]:
        """The wallets that a thread waits for."""
        self._waiting = {
            one: job for one, job in self._waiting.items() if not job.done()
        }
        return self._waiting.keys() - {ANSWERS}

    def found(self, wallets: Collection[int], take: Callable[[int], object]) -> None:
        """These were busy just now. One that has been for a while is left to a thread.

        It calls `take` with the wallet, which waits.
        """
        now = clock.elapsed()
        self._since = {one: self._since.get(one, now) for one in wallets}
        for one, since in self._since.items():
            room = len(self.waited_for()) < MAX_WAITING
            if room and now - since >= LOOKING_SECONDS:
                self._begin(one, partial(take, one))

    def leave_answers(self, record: Callable[[], object]) -> bool:
        """Record answers in a thread, which waits; False while one does so already."""
        self.waited_for()
        if ANSWERS in self._waiting:
            return False
        self._begin(ANSWERS, record)
        return True

    def end(self) -> None:
        """Wait for the threads, as long as the database lets them wait for a lock."""
        self._pool.shutdown()

    def _begin(self, what: int, work: Callable[[], object]) -> None:
        self._waiting[what] = self._pool.submit(_do, work)


def _do(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        # Nothing is lost: what was not taken is due still, what was sent has its lease.
        logger.exception("a busy wallet was waited for in vain")
    finally:
        connections.close_all()  # this thread's

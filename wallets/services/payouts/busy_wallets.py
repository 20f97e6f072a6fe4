"""Wallets that other transactions lock: only their own payouts wait.

A deposit locks its wallet for milliseconds, a bulk request of a thousand for longer,
and many requests may wait for the same lock. So a sweep takes the free wallets and
tries the others again. For a wallet that stays locked a thread waits: polling might
never find it free.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from django.db import connections

from wallets.utils import clock
from wallets.utils.database.errors import is_lock_timeout

logger = logging.getLogger(__name__)

# A wallet is polled for this long; then a thread waits for it.
LOOKING_SECONDS = 0.05
# While a thread waits, the other wallets are polled at this interval.
AGAIN_SECONDS = 0.05
# The most waiting threads; a sweep polls further wallets.
MAX_WAITING = 3

# Other work in a thread: marks what waits in frozen wallets.
FROZEN = -1


class BusyWallets:
    """The locked wallets of one sweep, and the threads that wait for them.

    Each thread uses one database connection while it waits.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # by wallet: when it was first found locked
        self._waiting: dict[int, Future[None]] = {}
        self._pool = ThreadPoolExecutor(MAX_WAITING + 1, thread_name_prefix="busy")

    def waited_for(self) -> set[int]:
        """Return the wallets that a thread waits for."""
        self._waiting = {
            one: job for one, job in self._waiting.items() if not job.done()
        }
        return self._waiting.keys() - {FROZEN}

    def found(self, wallets: Collection[int], take: Callable[[int], object]) -> None:
        """Note the wallets that are locked now.

        For a wallet that has been locked for LOOKING_SECONDS, a thread calls `take`
        with its id; `take` waits.
        """
        now = clock.elapsed()
        self._since = {one: self._since.get(one, now) for one in wallets}
        for one, since in self._since.items():
            room = len(self.waited_for()) < MAX_WAITING
            if room and now - since >= LOOKING_SECONDS:
                self._begin(one, partial(take, one))

    def leave(self, what: int, work: Callable[[], object]) -> bool:
        """Do this work, FROZEN, in a thread; False if one does so already."""
        if self.is_doing(what):
            return False
        self._begin(what, work)
        return True

    def is_doing(self, what: int) -> bool:
        """Whether a thread does this work."""
        return what in self._waiting and not self._waiting[what].done()

    def end(self) -> None:
        """Wait for the threads: each waits for one lock time-out at most."""
        self._pool.shutdown()

    def _begin(self, what: int, work: Callable[[], object]) -> None:
        self._waiting[what] = self._pool.submit(_do, work)


def _do(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:
        # Nothing is lost: unclaimed withdrawals are still due, and sent ones have a
        # lease.
        if is_lock_timeout(error):
            logger.info("a wallet stays locked")
        else:
            logger.exception("waiting for a locked wallet failed")
    finally:
        connections.close_all()  # this thread's

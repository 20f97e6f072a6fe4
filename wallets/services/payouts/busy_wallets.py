"""Wallets that other transactions lock: only their own payouts wait.

A deposit locks its wallet for milliseconds, a bulk request of a thousand wallets for
longer, a person's transaction for as long as it stays open, and many requests may wait
for the same lock. So a sweep leaves out every wallet that it has found locked, claims
the others, and asks again and again which of them are free. For a wallet that stays
locked a thread waits: polling might never find it free.
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
# A sweep asks at this interval which of its locked wallets are free.
AGAIN_SECONDS = 0.05
# The most locked wallets that a sweep leaves out: four bulk requests lock so many. With
# more of them, withdrawals that are due later may wait until some are free.
MAX_LEFT_OUT = 4000
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
        self._left_out: set[int] = set()
        self._asks_at = 0.0  # when to ask which of them are free
        self._waiting: dict[int, Future[None]] = {}
        self._pool = ThreadPoolExecutor(MAX_WAITING + 1, thread_name_prefix="busy")

    def waited_for(self) -> set[int]:
        """Return the wallets that a thread waits for."""
        done = {one for one, job in self._waiting.items() if job.done()}
        self._waiting = {
            one: job for one, job in self._waiting.items() if one not in done
        }
        self._left_out -= done
        return self._waiting.keys() - {FROZEN}

    def left_out(self) -> set[int]:
        """Return the wallets that a claim leaves out, at most MAX_LEFT_OUT."""
        self.waited_for()
        return self._left_out

    def found(self, wallets: Collection[int]) -> bool:
        """Leave out the wallets that a claim has found locked; return whether it can."""
        now = clock.elapsed()
        room = MAX_LEFT_OUT - len(self.left_out())
        new = sorted(set(wallets) - self._left_out)[:room]
        self._since = {
            one: self._since.get(one, now) for one in {*self._left_out, *new}
        }
        self._left_out.update(new)
        return bool(new)

    def ask_again(
        self, free: Callable[[set[int]], set[int]], take: Callable[[int], object]
    ) -> None:
        """After AGAIN_SECONDS, let the next claim have the wallets that are free now.

        `free` returns which of some wallets are. For one that has been locked for
        LOOKING_SECONDS, a thread calls `take` with its id; `take` waits.
        """
        now = clock.elapsed()
        asked = self.left_out() - self._waiting.keys()
        if not asked or now < self._asks_at:
            return
        self._asks_at = now + AGAIN_SECONDS
        locked = asked - free(asked)
        self._left_out -= asked - locked
        room = MAX_WAITING - len(self.waited_for())
        long = [one for one in locked if now - self._since[one] >= LOOKING_SECONDS]
        for one in sorted(long, key=self._since.__getitem__)[:room]:
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

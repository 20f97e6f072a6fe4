"""How long a group of requests waits for locked wallets.

Usually another process's group holds them for a moment. After a wait in vain a group
does not wait for a while, so a wallet that stays locked costs the others little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from wallets.services.requests.busy import Busy
from wallets.utils import clock

Q = TypeVar("Q")
A = TypeVar("A")

LOCK_WAIT_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0
# MySQL and MariaDB cannot wait for less than a second, so there a group polls.
ASK_AGAIN_SECONDS = 0.005


class Patience:
    """The patience of one process with the wallets of one kind of request."""

    def __init__(self) -> None:
        self._impatient_until = 0.0

    @property
    def is_left(self) -> bool:
        """Whether a group may wait for locked wallets now."""
        return clock.elapsed() > self._impatient_until

    def lose(self) -> None:
        """A wait was in vain: do not wait again for IMPATIENT_SECONDS."""
        self._impatient_until = clock.elapsed() + IMPATIENT_SECONDS

    def poll(
        self,
        work: Callable[[dict[int, Q]], Mapping[int, A | Busy] | None],
        busy: dict[int, Q],
    ) -> dict[int, A | Busy]:
        """Do `work` with the `busy` requests until none is, at most LOCK_WAIT_SECONDS.

        Returns the results by number; those that stay `Busy` may have none.
        """
        answers: dict[int, A | Busy] = {}
        ends = clock.elapsed() + LOCK_WAIT_SECONDS
        while busy and clock.elapsed() < ends:
            time.sleep(ASK_AGAIN_SECONDS)
            answers |= work(busy) or {}
            busy = {
                n: one
                for n, one in busy.items()
                if isinstance(answers.get(n, Busy()), Busy)
            }
        if busy:
            self.lose()
        return answers

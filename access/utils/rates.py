"""How many requests a key may make: a fixed window of a minute, in each process.

The strategy is that of the library `limits`. The counters are our own, because its
memory storage reads the wall clock, which may jump, and starts threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from wallets.utils import clock

WINDOW = 60  # seconds


class PerMinute(RateLimitItemPerMinute):
    """So many requests in a minute. They are counted by the caller's name alone.

    So a limit that is changed counts on, and the library need not make a longer name.
    """

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        """Return the name of the count."""
        return str(identifiers[0])


class Counters(Storage):
    """The counters of one process, by elapsed time."""

    def __init__(self, elapsed: Callable[[], float] = clock.elapsed) -> None:
        super().__init__()
        self._elapsed = elapsed
        self._lock = threading.Lock()
        # The count of each window, and when it ends.
        self._counts: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what a storage raises: this one raises nothing."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to the count, and return it; the first one begins a window."""
        now = self._elapsed()
        with self._lock:
            count, ends = self._counts.get(key, (0, 0.0))
            if now >= ends:
                count, ends = 0, now + expiry
            count += amount
            self._counts[key] = count, ends
        return count

    def get(self, key: str) -> int:
        """Return the count of the present window."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if self._elapsed() < ends else 0

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, on the clock of elapsed time."""
        now = self._elapsed()
        return max(now, self._counts.get(key, (0, now))[1])

    def check(self) -> bool:
        """Whether the storage can be used: always."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        with self._lock:
            found = len(self._counts)
            self._counts.clear()
        return found

    def clear(self, key: str) -> None:
        """Forget one count."""
        with self._lock:
            self._counts.pop(key, None)

    def forget_ended(self) -> None:
        """Forget the windows that have ended."""
        now = self._elapsed()
        with self._lock:
            for key in [key for key, (_, ends) in self._counts.items() if ends <= now]:
                del self._counts[key]


class Rates:
    """The limits of all keys in this process."""

    def __init__(self, elapsed: Callable[[], float] = clock.elapsed) -> None:
        self._elapsed = elapsed
        self.counters = Counters(elapsed)
        self._limiter = FixedWindowRateLimiter(self.counters)

    def wait_for(self, name: str, limit: RateLimitItem) -> int:
        """Count a request; return 0, or the seconds until another one is allowed."""
        if self._limiter.hit(limit, name):
            return 0
        ends = self.counters.get_expiry(limit.key_for(name))
        return max(1, math.ceil(ends - self._elapsed()))


def per_minute(count: int) -> RateLimitItem:
    """Return the limit of so many requests in a minute."""
    return PerMinute(count)

"""A clock that only goes forward, also while the process or the machine is frozen."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds since some fixed moment. A sender measures its lease with it."""
    return time.clock_gettime(_CLOCK)

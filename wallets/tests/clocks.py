"""A clock that only the test moves, so that a slow machine does not matter."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

from wallets.utils import clock


class StandingClock:
    """A clock that stands still until it is set forward or started.

    `with` or `start` replaces `clock.elapsed`, also in forked processes.
    """

    def __init__(self) -> None:
        self._real = clock.elapsed
        # A whole number, so that sums of seconds are exact.
        self._began = self._shows = float(math.ceil(self._real()))
        self._runs_since: float | None = None
        self._patch: Any = mock.patch.object(clock, "elapsed", self.elapsed)
        self.start, self.stop = self._patch.start, self._patch.stop

    def __enter__(self) -> StandingClock:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def elapsed(self) -> float:
        if self._runs_since is None:
            return self._shows
        return self._shows + self._real() - self._runs_since

    def go_on(self, seconds: float) -> None:
        """Set it forward by this many seconds."""
        self._shows += seconds

    def stand_at(self, seconds: float) -> None:
        """Set it to this many seconds after its creation, forward or back."""
        self._shows = self._began + seconds

    def run(self) -> None:
        """Let it run like the real clock from now on."""
        if self._runs_since is None:
            self._runs_since = self._real()

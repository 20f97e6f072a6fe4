"""A clock that a test moves: no time passes while a busy machine looks elsewhere."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

from wallets.utils import clock


class StandingClock:
    """Stands from its making on, until it is put forward or let run.

    `with` or `start` puts it in the place of `clock.elapsed`, in what is forked, too.
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
        """So much time has passed, at once."""
        self._shows += seconds

    def stand_at(self, seconds: float) -> None:
        """It is so many seconds after it was made: a story may be told in any order."""
        self._shows = self._began + seconds

    def run(self) -> None:
        """From now on time passes as it does."""
        if self._runs_since is None:
            self._runs_since = self._real()

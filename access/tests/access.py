"""Common code of the tests of keys: a process's copy that a test reads when it likes."""

from __future__ import annotations

from typing import Any
from unittest import mock

from access.services import keys, live
from access.services.keys import Made, Wanted
from access.services.live import LiveKeys

ACTOR = "test"


class Elapsed:
    """A clock of elapsed time that a test sets forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """A mixin for test cases: keys, and a copy without a thread of its own.

    Requests in this thread read the keys when the copy is too old, as those of Django
    do. `self.elapsed` is the clock of its age.
    """

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.elapsed = Elapsed()
        self.live = LiveKeys(self.elapsed, in_background=False)
        patched = mock.patch.object(live, "LIVE", self.live)
        patched.start()
        self.addCleanup(patched.stop)  # type: ignore[attr-defined]

    def key(self, name: str = "shop", *scopes: str, **wanted: Any) -> Made:
        """Return a key that works at once; without scopes it may do everything."""
        made = keys.create(name, Wanted(scopes or ("*",), **wanted), actor=ACTOR)
        self.live.refresh()
        return made

    def let_pass(self, seconds: float) -> None:
        self.elapsed.now += seconds


def bearer(made: Made) -> str:
    """Return the value of the Authorization header."""
    return f"Bearer {made.secret}"

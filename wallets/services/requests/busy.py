"""The result of a request in a batch that would have to wait."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any
from uuid import UUID


class Busy(Exception):
    """Another transaction is in the way, or may be: try again alone, and wait.

    `wallets` are those that it locks, as far as known. `rest` does what is left of the
    request, and waits; None: nothing of it is done.
    """

    def __init__(
        self,
        *why: str,
        wallets: Set[UUID] = frozenset(),
        rest: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(*why)
        self.wallets = wallets
        self.rest = rest

    def then(self, write: Callable[[Any], Any]) -> Busy:
        """Return the same, whose `rest` returns what `write` makes of its result."""
        rest = self.rest
        if rest is None:
            return self
        return Busy(wallets=self.wallets, rest=lambda: write(rest()))

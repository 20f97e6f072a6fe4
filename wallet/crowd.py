"""How many connections each of the server's processes has, known to all of them."""

from __future__ import annotations

import mmap

# More than there are processes. One that begins takes the place of one long gone.
PLACES = 256


class Crowd:
    """Shared by what is forked after its making. Nothing is locked: a count may be late."""

    def __init__(self) -> None:
        # 0 where nobody is, else one more than there are connections.
        self._counts = memoryview(mmap.mmap(-1, 4 * PLACES)).cast("I")

    def place(self, number: int) -> Place:
        """The place of the process with this number; they are counted from 1."""
        return Place(self._counts, number % PLACES)


class Place:
    """Where one process says how many connections it has."""

    def __init__(self, counts: memoryview, index: int) -> None:
        self._counts = counts
        self._index = index

    def says(self, connections: int) -> None:
        """So many it has now."""
        self._counts[self._index] = connections + 1

    def leave(self) -> None:
        """The process has ended, or takes nobody any more."""
        self._counts[self._index] = 0

    def lead(self, connections: int) -> int:
        """By how many that is more than the process with the fewest has."""
        self.says(connections)
        return connections + 1 - min(filter(None, self._counts))

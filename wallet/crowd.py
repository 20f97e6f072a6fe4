"""How many connections each of the server's processes has, known to all of them."""

from __future__ import annotations

import mmap

# More than there are processes. One that begins takes the place of one long gone.
PLACES = 256


class Crowd:
    """Shared by what is forked after its making. Nothing is locked: a count may be late.

    Processes are known by their numbers, counted from 1.
    """

    def __init__(self) -> None:
        # 0 where nobody is, else one more than there are connections.
        self._counts = memoryview(mmap.mmap(-1, 4 * PLACES)).cast("I")

    def say(self, process: int, connections: int) -> None:
        """So many it has now."""
        self._counts[process % PLACES] = connections + 1

    def leave(self, process: int) -> None:
        """It has ended, or takes nobody any more."""
        self._counts[process % PLACES] = 0

    def lead(self, process: int, connections: int) -> int:
        """By how many that is more than the process with the fewest has."""
        self.say(process, connections)
        return connections + 1 - min(filter(None, self._counts))

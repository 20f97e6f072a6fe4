"""psycopg, with connections that do not wait for ever. The backend's `Database`."""

from __future__ import annotations

from collections.abc import Generator
from time import monotonic
from typing import Any

from psycopg import *  # noqa: F403 (a driver's module has all of the driver's names)
from psycopg import Connection, OperationalError


class ServerSilent(OperationalError):
    """The server has said nothing for too long, and the connection is closed.

    What it was asked for may have happened or not.
    """


class BoundedConnection(Connection[Any]):
    """Waits at most `silence_seconds` for a server that says nothing; None: for ever.

    The kernel notices a peer whose packets vanish. It does not notice a server or a proxy
    that stands still: the other kernel goes on to acknowledge what it gets.
    """

    silence_seconds: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait as the driver does.

        :raises ServerSilent: when it has waited long enough.
        """
        if self.silence_seconds is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_bounded(gen, self.silence_seconds), *args, **kwargs)
        except ServerSilent:
            # What the server still says would be taken for the next statement's answer.
            self.close()
            raise


def _bounded(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """Pass on what the driver's generator waits for, until nothing has come for so long.

    The driver wakes it ten times a second, with 0 when nothing has come.
    """
    ends = monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                ends = monotonic() + seconds
            elif monotonic() >= ends:
                raise ServerSilent(f"the server said nothing for {seconds:g} s")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value


connect = BoundedConnection.connect

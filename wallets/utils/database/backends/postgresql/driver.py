"""psycopg with bounded waits: the backend's `Database`."""

from __future__ import annotations

from typing import Any

from psycopg import *  # noqa: F403 (a driver's module has all of the driver's names)
from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus


class ServerSilent(OperationalError):
    """The server has not answered in time, and the connection is closed.

    The last statement may have happened or not.
    """


class BoundedConnection(Connection[Any]):
    """Waits at most `silence_seconds` for each answer of the server; None: no limit.

    The kernel notices a peer whose packets are lost. It does not notice a server or a
    proxy that hangs, because the other kernel still acknowledges packets.
    """

    silence_seconds: float | None = None

    def wait(
        self, gen: Any, interval: float = 0.1, timeout: float | None = None
    ) -> Any:
        """Wait as the driver does, but not for longer.

        :raises ServerSilent: the server has not answered in time.
        """
        if timeout is not None or self.silence_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.silence_seconds)
        except OperationalError:
            if self.info.transaction_status is not TransactionStatus.ACTIVE:
                raise
            # A late answer would be taken for that of the next statement.
            self.close()
            raise ServerSilent(
                f"the server did not answer for {self.silence_seconds:g} s"
            ) from None


connect = BoundedConnection.connect

"""psycopg, with connections that do not wait for ever. The backend's `Database`."""

from __future__ import annotations

from typing import Any

from psycopg import *  # noqa: F403 (a driver's module has all of the driver's names)
from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus


class ServerSilent(OperationalError):
    """The server has not answered for too long, and the connection is closed.

    What it was asked for may have happened or not.
    """


class BoundedConnection(Connection[Any]):
    """Waits at most `silence_seconds` for each answer of the server; None: for ever.

    The kernel notices a peer whose packets vanish. It does not notice a server or a proxy
    that stands still: the other kernel goes on to acknowledge what it gets.
    """

    silence_seconds: float | None = None

    def wait(
        self, gen: Any, interval: float = 0.1, timeout: float | None = None
    ) -> Any:
        """Wait as the driver does.

        :raises ServerSilent: when it has waited long enough.
        """
        if timeout is not None or self.silence_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.silence_seconds)
        except OperationalError:
            if self.info.transaction_status is not TransactionStatus.ACTIVE:
                raise
            # What the server still says would be taken for the next statement's answer.
            self.close()
            raise ServerSilent(
                f"the server did not answer for {self.silence_seconds:g} s"
            ) from None


connect = BoundedConnection.connect

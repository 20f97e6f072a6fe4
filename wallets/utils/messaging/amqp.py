"""RabbitMQ for workers, with a time-out on every wait.

After its handshake py-amqp waits for ever for an answer: a worker or a publisher whose
broker falls silent in the middle of one would hang until somebody restarts it.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import pyamqp


class Connection(pyamqp.Connection):
    """A connection with the transport option `socket_timeout` (seconds), as Redis has it."""

    def __init__(
        self, *args: Any, socket_timeout: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._socket_timeout = socket_timeout

    def connect(self, callback: Any = None) -> Any:
        """Connect; from then on a wait that takes longer is a lost connection."""
        result = super().connect(callback)
        if self._socket_timeout is not None and self.sock is not None:
            self.sock.settimeout(self._socket_timeout)
        return result


class Transport(pyamqp.Transport):
    """Kombu's own, with that connection."""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = Connection

"""RabbitMQ for workers, with a time-out on every wait.

After its handshake py-amqp waits for an answer without a limit. A worker or a publisher
would hang if its broker fell silent.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import pyamqp


class Connection(pyamqp.Connection):
    """A connection with the transport option `socket_timeout` (seconds)."""

    def __init__(
        self, *args: Any, socket_timeout: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._socket_timeout = socket_timeout

    def connect(self, callback: Any = None) -> Any:
        """Connect; a later wait that takes longer is a lost connection."""
        result = super().connect(callback)
        if self._socket_timeout is not None and self.sock is not None:
            self.sock.settimeout(self._socket_timeout)
        return result


class Transport(pyamqp.Transport):
    """Kombu's transport with this connection."""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection = Connection

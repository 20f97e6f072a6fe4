"""How each broker is spoken to: nothing waits for ever, everything comes back by itself.

What these settings are about is Beat and the workers; requests publish with time-outs of
their own (`wallets.utils.broker`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

# A step at a broker that takes longer has failed.
TIMEOUT_SECONDS = 5
# How often a quiet connection is asked whether it still lives: a worker notices one that
# is half open after twice this time, and consumes again on a new one.
HEALTH_SECONDS = 10

_REDIS: dict[str, Any] = {
    "BROKER_TRANSPORT_OPTIONS": {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_SECONDS,
        # Messages are a courtesy. Kombu's copies of those in hand would come back an hour
        # after a worker died, and putting them back over a broken connection kills it.
        "ack_emulation": False,
    },
}
_RABBITMQ: dict[str, Any] = {
    "BROKER_TRANSPORT_OPTIONS": {"socket_timeout": TIMEOUT_SECONDS},
    "BROKER_HEARTBEAT": HEALTH_SECONDS,
    # Quorum queues survive the loss of a node. Their timers work with topic exchanges
    # only: with others, a worker that holds one would not take anything else.
    "TASK_DEFAULT_QUEUE_TYPE": "quorum",
    "TASK_DEFAULT_EXCHANGE_TYPE": "topic",
}


def broker_settings(url: str) -> dict[str, Any]:
    """Return Celery's settings for the kind of broker, without their prefix."""
    scheme = urlsplit(url).scheme
    kind = _REDIS
    if scheme in ("amqp", "amqps", "pyamqp"):
        transport = "SSLTransport" if scheme == "amqps" else "Transport"
        kind = _RABBITMQ | {"BROKER_TRANSPORT": f"wallets.utils.amqp:{transport}"}
    return {
        "BROKER_CONNECTION_TIMEOUT": TIMEOUT_SECONDS,
        # A worker that gave up would need somebody to restart it.
        "BROKER_CONNECTION_MAX_RETRIES": None,
        "BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "TASK_PUBLISH_RETRY_POLICY": {"max_retries": 1, "interval_start": 0},
        **kind,
    }

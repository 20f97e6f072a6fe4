"""Celery's settings for each kind of broker: no endless waits, automatic reconnects.

They are for Beat and the workers; requests publish with time-outs of their own
(`wallets.utils.messaging.broker`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kombu import Exchange, Queue

# The time-out of a step at the broker, in seconds.
TIMEOUT_SECONDS = 5
# How often an idle connection is tested. A worker notices a half-open one after twice
# this time, and reconnects.
HEALTH_SECONDS = 10

# The queues: payouts that are due, the resolver, and everything else.
SUFFIXES = ("", "-resolve", "-others")
# The tasks of the first queue.
_PAYOUTS = (
    "process_pending_withdrawals",
    "process_single_withdrawal",
    "drain_pending_withdrawals",
)

_REDIS: dict[str, Any] = {
    "BROKER_TRANSPORT_OPTIONS": {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_SECONDS,
        # Messages may be lost. Kombu's copies of unacknowledged messages would come
        # again an hour after a worker died, and putting them back over a broken
        # connection ends the worker.
        "ack_emulation": False,
    },
    # A server that became a replica refuses what it is told, and may take it again soon.
    "BROKER_CHANNEL_ERROR_RETRY": True,
}
_RABBITMQ: dict[str, Any] = {
    "BROKER_TRANSPORT_OPTIONS": {"socket_timeout": TIMEOUT_SECONDS},
    "BROKER_HEARTBEAT": HEALTH_SECONDS,
    "BROKER_CHANNEL_ERROR_RETRY": True,
    # Quorum queues survive the loss of a node. Celery prepares timers for them, which
    # it can only with topic exchanges. We use no timers.
    "TASK_DEFAULT_QUEUE_TYPE": "quorum",
    "TASK_DEFAULT_EXCHANGE_TYPE": "topic",
}


def broker_settings(url: str, queue: str) -> dict[str, Any]:
    """Return Celery's settings for the kind of broker, without their prefix.

    A worker consumes its queues in turn. The resolver has a queue of its own, so that
    it does not wait behind payouts. So has everything but payouts: their wake-ups may
    fill the first queue, and a worker of one process is slow to take them.
    """
    scheme = urlsplit(url).scheme
    kind = _REDIS
    if scheme in ("amqp", "amqps", "pyamqp"):
        transport = "SSLTransport" if scheme == "amqps" else "Transport"
        kind = _RABBITMQ | {
            "BROKER_TRANSPORT": f"wallets.utils.messaging.amqp:{transport}"
        }
    return {
        "BROKER_CONNECTION_TIMEOUT": TIMEOUT_SECONDS,
        # A worker must not give up, because it would need a restart.
        "BROKER_CONNECTION_MAX_RETRIES": None,
        "BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "TASK_PUBLISH_RETRY_POLICY": {"max_retries": 1, "interval_start": 0},
        "TASK_QUEUES": [_queue(f"{queue}{suffix}", kind) for suffix in SUFFIXES],
        "TASK_ROUTES": {
            "wallets.tasks.resolve_unknown_withdrawals": {"queue": f"{queue}-resolve"},
            **{f"wallets.tasks.{name}": {"queue": queue} for name in _PAYOUTS},
            "*": {"queue": f"{queue}-others"},
        },
        **kind,
    }


def _queue(name: str, kind: dict[str, Any]) -> Queue:
    exchange = Exchange(name, kind.get("TASK_DEFAULT_EXCHANGE_TYPE", "direct"))
    arguments = None
    if "TASK_DEFAULT_QUEUE_TYPE" in kind:
        arguments = {"x-queue-type": kind["TASK_DEFAULT_QUEUE_TYPE"]}
    return Queue(name, exchange, name, queue_arguments=arguments)

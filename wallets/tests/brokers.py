"""Brokers for tests: the test's own Redis server, or a queue of a shared RabbitMQ."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import kombu
from amqp.exceptions import InternalError
from celery import current_app

from drills.broker import OwnRedis
from drills.proxy import Proxy
from wallet.brokers import SUFFIXES, broker_settings
from wallets.utils.messaging import broker

RABBITMQ_URL = os.environ.get("TEST_RABBITMQ_URL", "")


def at_port(url: str, port: int) -> str:
    """Return the broker's address through a proxy on this port."""
    parts = urlsplit(url)
    user = f"{parts.username}:{parts.password}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))


@contextmanager
def publishing_to(url: str, queue: str = "wallet") -> Iterator[None]:
    """Let this process publish to this broker, with the settings of its kind."""
    settings = {
        key.lower(): value for key, value in broker_settings(url, queue).items()
    }
    conf = current_app.conf
    changes = {**settings, "broker_url": url, "task_default_queue": queue}
    before = {key: conf.get(key) for key in changes}
    conf.update(changes)
    # Celery caches its queues.
    amqp = current_app.__dict__.pop("amqp", None)
    publisher, broker._publisher = broker._publisher, broker.Publisher()
    try:
        yield
    finally:
        broker._publisher = publisher
        conf.update(before)
        current_app.__dict__.pop("amqp", None)
        if amqp is not None:
            current_app.__dict__["amqp"] = amqp


class RedisBehindProxy:
    """The test's own Redis server, behind a proxy."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.server = OwnRedis(Path(self._folder.name))
        self.server.start()
        self.proxy = Proxy(self.server.port)
        self.url = at_port(self.server.url, self.proxy.port)
        self.queue = "wallet"

    def waiting(self) -> int:
        """Return the number of messages in the queue, without the proxy."""
        with self.server.client() as client:
            return int(client.llen(self.queue))

    def close(self) -> None:
        self.proxy.close()
        self.server.thaw()
        self.server.kill()
        self._folder.cleanup()


class RabbitMQBehindProxy:
    """The shared RabbitMQ with the test's own queue, behind a proxy."""

    def __init__(self) -> None:
        self.proxy = Proxy(urlsplit(RABBITMQ_URL).port or 5672)
        self.url = at_port(RABBITMQ_URL, self.proxy.port)
        self.queue = f"wallet-test-{uuid.uuid4()}"

    def take(self) -> int:
        """Remove all messages of the queue, without the proxy; return their number."""
        with kombu.Connection(RABBITMQ_URL) as connection:
            channel, count = connection.default_channel, 0
            # The queue exists after the first message. While RabbitMQ starts it, a question
            # about it is an internal error, which ends the connection.
            with suppress(connection.channel_errors, InternalError):
                while channel.basic_get(self.queue, no_ack=True) is not None:
                    count += 1
            return count

    def close(self) -> None:
        self.proxy.close()
        with kombu.Connection(RABBITMQ_URL) as connection:
            for suffix in (*SUFFIXES, "-probe"):
                name = f"{self.queue}{suffix}"
                connection.default_channel.queue_delete(name)
                connection.default_channel.exchange_delete(name)

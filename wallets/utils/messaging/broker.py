"""Publishing that never delays or fails its caller.

A caller gives its message to a thread of this process; only this thread waits for the
broker. Each of its steps has a time-out of a fraction of a second. A message that fails
on an old connection is sent once more on a new one (so it may arrive twice, which does
no harm). After a failure on a new connection the thread does not use the broker for
REST_SECONDS. A dropped message is no loss: the sweeps find the work.

A message never carries a time, because a worker would judge it by its own clock.
Messages do not expire; instead their number is bounded: concurrent wake-ups become one,
and nothing is published into a queue with MAX_QUEUED messages.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from contextlib import suppress
from typing import Any

from celery import current_app

from wallets.utils import clock

logger = logging.getLogger(__name__)

# The tasks that pay what is due; `services.payouts.dispatch` says when.
DRAIN_PENDING = "wallets.tasks.drain_pending_withdrawals"
DRAIN_RETRYABLE = "wallets.tasks.drain_retryable_withdrawals"

# For one step: connecting, the handshake, a publish with its confirmation.
TIMEOUT_SECONDS = 0.3
# After a failure the broker is not used for this long.
REST_SECONDS = 1.0
# The most waiting messages; further ones are dropped.
MAX_WAITING = 1000
# The least time between wake-ups for the same task. The last one is always published,
# after this time.
SPACING_SECONDS = 0.25
# A queue with this many messages gets no more: they all mean the same.
MAX_QUEUED = 100


class Publisher:
    """One thread with one connection that publishes the messages of all callers.

    The thread starts with the first message, so a process may fork before. Only the
    thread uses the connection.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # The following only while `_changed` is held.
        self._messages: deque[tuple[str, dict[str, Any]]] = deque()
        self._wake_ups: dict[str, int] = {}  # by task: number of messages
        self._spaced_until: dict[str, float] = {}  # by task: when the next one may go
        self._hurries = 0  # number of callers in `flush`
        self._sending = False
        self._thread: threading.Thread | None = None
        # The following only in the thread.
        self._connection: Any = None
        self._rests_until = 0.0

    def publish(self, task: str, options: dict[str, Any]) -> bool:
        """Add a message; return whether there was room."""
        with self._changed:
            if len(self._messages) >= MAX_WAITING:
                return False
            self._messages.append((task, options))
            self._go_on()
        return True

    def wake_up(self, task: str, times: int) -> None:
        """Add `times` messages without arguments, unless as many are waiting."""
        with self._changed:
            self._wake_ups[task] = max(times, self._wake_ups.get(task, 0))
            self._go_on()

    def flush(self, seconds: float) -> bool:
        """Wait (seconds) until all messages are published or dropped; True if so."""
        with self._changed:
            self._hurries += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._left(), seconds)
            finally:
                self._hurries -= 1

    def _left(self) -> bool:
        return bool(self._messages or self._wake_ups or self._sending)

    def _go_on(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="publisher", daemon=True
            )
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            task, options, times = self._next()
            try:
                if clock.elapsed() >= self._rests_until:
                    self._publish(task, options, times)
            except Exception as error:  # noqa: BLE001 (transports' own errors)
                self._rest(error)

    def _next(self) -> tuple[str, dict[str, Any], int]:
        """Wait for the next message; return it and how often to publish it."""
        with self._changed:
            self._sending = False
            self._changed.notify_all()
            while not self._messages:
                wait = None
                for task in self._wake_ups:
                    left = self._spaced_until.get(task, 0.0) - clock.elapsed()
                    if left <= 0 or self._hurries:
                        self._sending = True
                        self._spaced_until[task] = clock.elapsed() + SPACING_SECONDS
                        return task, {}, self._wake_ups.pop(task)
                    wait = min(left, wait or left)
                self._changed.wait(wait)
            self._sending = True
            return *self._messages.popleft(), 1

    def _publish(self, task: str, options: dict[str, Any], times: int) -> None:
        if self._connection is not None:
            try:
                self._send(task, options, times)
                return
            except Exception:  # noqa: BLE001 (transports' own errors)
                # The broker may have been restarted: try one new connection.
                self._hang_up()
        self._connection = _connected()
        self._send(task, options, times)

    def _send(self, task: str, options: dict[str, Any], times: int) -> None:
        room = MAX_QUEUED - _queued(task, self._connection)
        for _ in range(min(times, room)):
            current_app.tasks[task].apply_async(
                connection=self._connection, retry=False, **options
            )

    def _rest(self, error: Exception) -> None:
        self._rests_until = clock.elapsed() + REST_SECONDS
        logger.warning(
            "broker not reachable (%s); the next sweep finds the work",
            type(error).__name__,
        )
        self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _hang_up(connection)


def _queued(task: str, connection: Any) -> int:
    """Return the number of messages in the task's queue; declares the queue."""
    queue = current_app.amqp.router.route({}, task)["queue"]
    queue = queue.bind(connection.default_channel)
    return int(queue.queue_declare().message_count)


def _connected() -> Any:
    """Return a new connection, in which every step has a time-out."""
    connection = current_app.connection_for_write(
        connect_timeout=TIMEOUT_SECONDS,
        transport_options={
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            # RabbitMQ: without it, a publish into a dead connection seems to succeed.
            "confirm_publish": True,
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
        },
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    except BaseException:
        _hang_up(connection)
        raise
    return connection


def _hang_up(connection: Any) -> None:
    """Close the socket without a message, because a frozen broker would not answer."""
    with suppress(Exception):
        connection.collect()


_publisher = Publisher()


def _start_afresh() -> None:
    """A forked child has no thread and must not use the parent's connection."""
    global _publisher
    _publisher = Publisher()


os.register_at_fork(after_in_child=_start_afresh)


def publish(task: str, **options: Any) -> bool:
    """Publish one message soon; return whether there was room for it. Never waits."""
    return _publisher.publish(task, options)


def wake_up(task: str, times: int = 1) -> None:
    """Have workers run this task soon, at most `times` times. Never waits.

    However often it is called, this process publishes a few messages a second. After
    the last call it publishes at least one.
    """
    _publisher.wake_up(task, times)


def flush(seconds: float = TIMEOUT_SECONDS) -> bool:
    """Wait until every message is published or dropped; return whether so."""
    return _publisher.flush(seconds)


def trouble() -> str:
    """Return why the broker does not accept a message now, or "".

    Uses a connection of its own. A Redis that is a replica or is full, and a RabbitMQ
    with an alarm, answer but accept no message, so it gets one, in a queue without a
    consumer.
    """
    try:
        connection = _connected()
    except Exception:  # noqa: BLE001 (transports' own errors)
        return "not answering"
    try:
        _try_a_message(connection)
    except Exception as error:  # noqa: BLE001 (transports' own errors)
        return f"takes no messages ({type(error).__name__})"
    finally:
        _hang_up(connection)
    return ""


def _try_a_message(connection: Any) -> None:
    name = f"{current_app.conf.task_default_queue}-probe"
    with connection.SimpleQueue(name) as queue:
        queue.put({})
        queue.clear()


atexit.register(flush)

"""Publishing that can neither hold up nor fail whoever asks for it.

A request leaves its message with a thread of this process and goes on; only that thread
ever waits for the broker. Each of its steps has a time-out of a fraction of a second. What
fails on an old connection is sent once more on a new one (so it may arrive twice, which is
harmless); after a failure on that the broker is left alone for a moment. A message that is
dropped on the way is no loss: the sweeps find the work without it.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.utils import timezone

from wallets.utils import clock

logger = logging.getLogger(__name__)

# For one step at the broker: connecting, the handshake, a publish with its confirmation.
TIMEOUT_SECONDS = 0.3
# After a failure the broker is left alone this long.
REST_SECONDS = 1.0
# More than wait here are dropped: the broker is slower than the requests come in.
MAX_WAITING = 1000
# RabbitMQ's delay queues count whole seconds, and Celery refuses less than one.
SHORTEST_DELAY = timedelta(seconds=1.1)


class Ringer:
    """One thread with one connection that publishes what others leave with it.

    The thread starts with the first message, so a process may fork before. The connection
    is the thread's alone, so it is not shared between threads and none leaks with them.
    """

    def __init__(self) -> None:
        self._messages: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(
            MAX_WAITING
        )
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._rests_until = 0.0

    def ring(self, task: str, options: dict[str, Any]) -> bool:
        """Leave a message; return whether there was room for it."""
        try:
            self._messages.put_nowait((task, options))
        except queue.Full:
            return False
        if self._thread is None:
            self._start()
        return True

    def flush(self, seconds: float) -> bool:
        """Wait until all messages have gone their way; return whether they have."""
        ends = clock.elapsed() + seconds
        with self._messages.all_tasks_done:
            while self._messages.unfinished_tasks:
                left = ends - clock.elapsed()
                if left <= 0 or not self._messages.all_tasks_done.wait(left):
                    return False
        return True

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="bell-ringer", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            task, options = self._messages.get()
            try:
                if clock.elapsed() >= self._rests_until:
                    self._publish(task, options)
            except Exception as error:  # noqa: BLE001 (transports' own errors)
                self._rest(error)
            finally:
                self._messages.task_done()

    def _publish(self, task: str, options: dict[str, Any]) -> None:
        if self._connection is not None:
            try:
                self._send(task, options)
                return
            except Exception:  # noqa: BLE001 (transports' own errors)
                # The broker may have been restarted since: it gets one new connection.
                self._hang_up()
        self._connection = _connected()
        self._send(task, options)

    def _send(self, task: str, options: dict[str, Any]) -> None:
        current_app.tasks[task].apply_async(
            connection=self._connection, retry=False, **_with_timer(options)
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


def _connected() -> Any:
    """A new connection, in which every step has a time-out."""
    connection = current_app.connection_for_write(
        connect_timeout=TIMEOUT_SECONDS,
        transport_options={
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            # RabbitMQ: without it, what goes into a dead connection seems to arrive.
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
    """Close the socket without a word: a frozen broker would not answer."""
    with suppress(Exception):
        connection.collect()


def _with_timer(options: dict[str, Any]) -> dict[str, Any]:
    """Drop a timer that is too short for the delay queues: the task itself waits."""
    at: datetime | None = options.get("eta")
    if at is None or current_app.conf.task_default_queue_type != "quorum":
        return options
    too_short = at - timezone.now() < SHORTEST_DELAY
    return {**options, "eta": None} if too_short else options


_ringer = Ringer()


def _start_afresh() -> None:
    """A forked child has neither the thread nor a right to the parent's connection."""
    global _ringer
    _ringer = Ringer()


os.register_at_fork(after_in_child=_start_afresh)


def ring(task: str, **options: Any) -> bool:
    """Publish one message soon; return whether there was room for it. Never waits."""
    return _ringer.ring(task, options)


def flush(seconds: float = TIMEOUT_SECONDS) -> bool:
    """Wait until every message has been published or dropped; return whether it has."""
    return _ringer.flush(seconds)


def answers() -> bool:
    """Whether the broker answers now; asks on a connection of its own."""
    try:
        _hang_up(_connected())
    except Exception:  # noqa: BLE001 (transports' own errors)
        return False
    return True


atexit.register(flush)

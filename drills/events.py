"""Counts what a process does, and lets something happen to it at the N-th event.

An event is a moment between two effects on the world: before and after each SQL
statement, each COMMIT, and each call to the bank. What the product does is not changed:
an execute wrapper, the connection's own `_commit` and the HTTP client's steps report.

Note [One moment]: between the end of an effect and the beginning of the next one a process
changes only itself. Killed there, it leaves the same world wherever it was; so a kill is
tried after each statement and COMMIT, and not once more before the next.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any
from zlib import crc32

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connection

from drills.clock_shim import step_my_own
from wallets.utils.bank.connections import Connection
from wallets.utils.bank.interface import Abilities, Answer, Payment
from wallets.utils.third_party import HttpBank

Action = Callable[[], None]

LABEL_BYTES = 200
# Actions after which the clock must be set right.
STEPS = ("step-forward", "step-back")


class Trail:
    """What a process has come to, in memory that its killer can still read."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)

    def write(self, count: int, first_call: int, trace: int, label: str) -> None:
        line = f"{count} {first_call} {trace} {label}".encode()[:LABEL_BYTES]
        self._memory[: LABEL_BYTES + 1] = line.ljust(LABEL_BYTES + 1)

    def read(self) -> tuple[int, int, int, str]:
        """How many events counted, which was the first call, all names' sum, the last."""
        line = self._memory[:LABEL_BYTES].decode("utf-8", "replace").strip(" \x00")
        if not line:
            return 0, 0, 0, ""
        count, first_call, trace, label = line.split(" ", 3)
        return int(count), int(first_call), int(trace), label


class Tripwire:
    """Counts the events whose name starts as one of `kinds`; acts at number `at`, once."""

    def __init__(
        self, trail: Trail, *, at: int, act: Action, kinds: tuple[str, ...]
    ) -> None:
        self._trail = trail
        self._at = at
        self._act = act
        self._kinds = kinds
        self._count = 0
        self._first_call = 0
        # The same for the same events: threads may take turns otherwise each time.
        self._trace = 0
        # Calls to the bank are made by other threads than the statements.
        self._lock = threading.Lock()

    def __call__(self, label: str) -> None:
        counts = label.startswith(self._kinds)
        with self._lock:
            self._count += counts
            count = self._count
            if not self._first_call and label.startswith("bank"):
                self._first_call = count
            self._trace = (self._trace + crc32(label.encode())) % 2**32
            self._trail.write(count, self._first_call, self._trace, label)
        if counts and count == self._at:
            self._act()


def watch_database(trip: Tripwire) -> None:
    """Report this thread's statements and commits."""

    def statement(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        words = " ".join(str(sql).split())[:60]
        trip(f"sql before: {words}")
        result = execute(sql, params, many, context)
        trip(f"sql after: {words}")
        return result

    commit = connection._commit  # type: ignore[attr-defined]

    def committing() -> None:
        trip("commit before")
        commit()
        trip("commit after")

    connection.execute_wrappers.append(statement)
    connection._commit = committing  # type: ignore[attr-defined]


class WatchedBank(HttpBank):
    """The real HTTP client; reports before the bytes leave, when they have, and after.

    "bank before" comes before the client looks at its lease for the last time, "gap" in
    the instant between that look and the first byte, which no client can close.
    """

    def __init__(self, trip: Tripwire, base_url: str, abilities: Abilities) -> None:
        self._trip = trip
        self.connection_class = _connection_class(trip)
        super().__init__(base_url, abilities=abilities, **limits())

    def pay_later(self, payment: Payment, *, send_before: float) -> Future[Answer]:
        self._trip("bank before the call")
        answered = super().pay_later(payment, send_before=send_before)
        told: Future[Answer] = Future()

        def tell(answer: Future[Answer]) -> None:
            self._trip(f"bank answered pay: {answer.result().outcome.value}")
            told.set_result(answer.result())

        answered.add_done_callback(tell)
        return told

    def look_up(self, payment: Payment) -> Answer:
        self._trip("bank before the call")
        answer = super().look_up(payment)
        self._trip(f"bank answered look-up: {answer.outcome.value}")
        return answer


def limits() -> dict[str, Any]:
    """The client's bounds, as the settings have them."""
    return {
        "deadline": settings.THIRD_PARTY_DEADLINE,
        "connect_timeout": settings.THIRD_PARTY_CONNECT_TIMEOUT,
        "connections": settings.WITHDRAWAL_CONCURRENCY,
    }


def _connection_class(trip: Tripwire) -> type[Connection]:
    """The HTTP client's connection, with its requests reported."""

    class Watched(Connection):
        def send(self, message: bytes) -> None:
            method = message.partition(b" ")[0].decode()
            trip(f"gap before {method}")
            super().send(message)
            trip(f"bank sent {method}")

    return Watched


def kill() -> None:
    """The process is gone, and nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """The process stands still until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def step_clock(seconds: float) -> None:
    """The process is gone, and the clock of all who go on has stepped by so much.

    On SQLite that is the database's clock too. On a server it is the host's alone.
    """
    step_my_own(seconds)
    kill()


def exceed_soft_limit() -> None:
    """Celery's soft limit: an exception at wherever the main thread is."""
    os.kill(os.getpid(), signal.SIGUSR1)


def expect_soft_limit() -> None:
    """Do with SIGUSR1 what Celery's pool does. Call in the main thread."""

    def over(*_: object) -> None:
        raise SoftTimeLimitExceeded

    signal.signal(signal.SIGUSR1, over)


def lose_connection() -> None:
    """The driver says that the server has gone; whether COMMIT happened it cannot know."""
    with connection.wrap_database_errors:
        raise _driver_error()


def _driver_error() -> Exception:
    if connection.vendor == "postgresql":
        import psycopg

        return psycopg.OperationalError("server closed the connection unexpectedly")
    if connection.vendor == "mysql":
        # Not `pymysql.err`: Django imports the driver's modules a second time, by another name.
        database: Any = connection
        return database.Database.OperationalError(2013, "Lost connection to server")
    import sqlite3

    return sqlite3.OperationalError("database is locked")


ACTIONS: dict[str, tuple[Action, tuple[str, ...]]] = {
    # What happens, and the kinds of events at which it does.
    "kill": (kill, ("sql after", "commit after", "bank", "gap")),  # Note [One moment]
    "kill-in-call": (kill, ("bank", "gap")),
    "soft-limit": (exceed_soft_limit, ("",)),
    "error": (lose_connection, ("commit",)),
    "freeze": (freeze, ("bank",)),
    # More than every wait; back by less than a drill's patience.
    "step-forward": (partial(step_clock, 1800), ("commit after", "bank", "gap")),
    "step-back": (partial(step_clock, -5), ("commit after", "bank", "gap")),
    # Not safe with every bank, and not part of a sweep unless asked for; docs/faults.md.
    "freeze-gap": (freeze, ("gap",)),
}

"""Counts the events of a process, and runs an action at the N-th event.

An event is a moment between two effects on the world: before and after each SQL
statement, each COMMIT, and each call to the bank. The product is not changed: an
execute wrapper, the connection's own `_commit` and the HTTP client's steps report
events.

Note [One moment]: between the end of an effect and the beginning of the next one a
process changes only itself. Killed at any point in between, it leaves the same state.
So a kill is tried after each statement and COMMIT, and not again before the next one.
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
# Actions after which the clock must be corrected.
STEPS = ("step-forward", "step-back")


class Trail:
    """The progress of a process, in memory that its killer can still read."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)

    def write(self, count: int, first_call: int, trace: int, label: str) -> None:
        line = f"{count} {first_call} {trace} {label}".encode()[:LABEL_BYTES]
        self._memory[: LABEL_BYTES + 1] = line.ljust(LABEL_BYTES + 1)

    def read(self) -> tuple[int, int, int, str]:
        """Return the number of events, the first call's number, a sum, the last."""
        line = self._memory[:LABEL_BYTES].decode("utf-8", "replace").strip(" \x00")
        if not line:
            return 0, 0, 0, ""
        count, first_call, trace, label = line.split(" ", 3)
        return int(count), int(first_call), int(trace), label


class Tripwire:
    """Counts events whose name begins with one of `kinds`; acts once, at `at`."""

    def __init__(
        self, trail: Trail, *, at: int, act: Action, kinds: tuple[str, ...]
    ) -> None:
        self._trail = trail
        self._at = at
        self._act = act
        self._kinds = kinds
        self._count = 0
        self._first_call = 0
        # The same sum for the same events, because threads may alternate differently.
        self._trace = 0
        # Calls to the bank run in other threads than statements.
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
    """The real HTTP client; reports before, during and after a call.

    "bank before" comes before the last check of the lease. "gap" is between that check
    and the first byte, which no client can close.
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
    """Return the client's limits from the settings."""
    return {
        "deadline": settings.THIRD_PARTY_DEADLINE,
        "connect_timeout": settings.THIRD_PARTY_CONNECT_TIMEOUT,
        "connections": settings.WITHDRAWAL_CONCURRENCY,
    }


def _connection_class(trip: Tripwire) -> type[Connection]:
    """Return the HTTP client's connection class, with reports."""

    class Watched(Connection):
        def send(self, message: bytes) -> None:
            method = message.partition(b" ")[0].decode()
            trip(f"gap before {method}")
            super().send(message)
            trip(f"bank sent {method}")

    return Watched


def kill() -> None:
    """Kill the process."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """Stop the process until it gets SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def step_clock(seconds: float) -> None:
    """Kill the process, and step the clock of all that go on.

    On SQLite it is the database's clock, too; with a server only the host's.
    """
    step_my_own(seconds)
    kill()


def exceed_soft_limit() -> None:
    """Raise Celery's soft limit, wherever the main thread is."""
    os.kill(os.getpid(), signal.SIGUSR1)


def expect_soft_limit() -> None:
    """Handle SIGUSR1 as Celery's pool does. Call in the main thread."""

    def over(*_: object) -> None:
        raise SoftTimeLimitExceeded

    signal.signal(signal.SIGUSR1, over)


def lose_connection() -> None:
    """Raise the driver's error of a lost server; a COMMIT may have happened."""
    with connection.wrap_database_errors:
        raise _driver_error()


def _driver_error() -> Exception:
    if connection.vendor == "postgresql":
        import psycopg

        return psycopg.OperationalError("server closed the connection unexpectedly")
    if connection.vendor == "mysql":
        # Not `pymysql.err`: Django imports the driver's modules under another name.
        database: Any = connection
        return database.Database.OperationalError(2013, "Lost connection to server")
    import sqlite3

    return sqlite3.OperationalError("database is locked")


ACTIONS: dict[str, tuple[Action, tuple[str, ...]]] = {
    # The actions, and the kinds of events at which they happen.
    "kill": (kill, ("sql after", "commit after", "bank", "gap")),  # Note [One moment]
    "kill-in-call": (kill, ("bank", "gap")),
    "soft-limit": (exceed_soft_limit, ("",)),
    "error": (lose_connection, ("commit",)),
    "freeze": (freeze, ("bank",)),
    # Forward by more than every wait; back by less than a drill waits.
    "step-forward": (partial(step_clock, 1800), ("commit after", "bank", "gap")),
    "step-back": (partial(step_clock, -5), ("commit after", "bank", "gap")),
    # Not safe with every bank, and not part of a sweep by default; see docs/faults.md.
    "freeze-gap": (freeze, ("gap",)),
}

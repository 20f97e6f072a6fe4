"""A database that is away for a while: statements fail with the driver's errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from django.db import connection

from wallets.tests.clocks import StandingClock


def refusals() -> dict[str, Exception]:
    """Return the driver's errors when a database is away, restarts or fails over."""
    if connection.vendor == "postgresql":
        from psycopg import errors

        return {
            "unreachable": errors.OperationalError("connection refused"),
            "starts up": errors.CannotConnectNow("the database system is starting up"),
            "stops": errors.AdminShutdown("terminating connection"),
            "full of sessions": errors.TooManyConnections("too many clients"),
            "only reads": errors.ReadOnlySqlTransaction("read-only transaction"),
            "deadlocks": errors.DeadlockDetected("deadlock detected"),
            "locks": errors.LockNotAvailable("canceling statement"),
        }
    if connection.vendor == "mysql":
        from MySQLdb import OperationalError as MySQLError

        codes = {
            "unreachable": 2003,
            "lost": 2013,
            "full of sessions": 1040,
            "only reads": 1290,
            "only reads, by its variable": 1836,
            "deadlocks": 1213,
            "locks": 1205,
            "a node that is not ready": 1047,
        }
        return {name: MySQLError(code, name) for name, code in codes.items()}
    import sqlite3

    return {
        "locks": sqlite3.OperationalError("database is locked"),
        "no disk": sqlite3.OperationalError("unable to open database file"),
        "only reads": sqlite3.OperationalError("attempt to write a readonly database"),
    }


def set_read_only(on: bool) -> None:
    """Let the session accept no writes, as one of a standby; or accept them again."""
    sql = {
        "sqlite": f"PRAGMA query_only = {int(on)}",
        "postgresql": f"SET default_transaction_read_only = {'on' if on else 'off'}",
        "mysql": f"SET SESSION TRANSACTION {'READ ONLY' if on else 'READ WRITE'}",
    }
    with connection.cursor() as cursor:
        cursor.execute(sql[connection.vendor])


class Outage:
    """In the `with` block each statement fails, for `seconds` from `begin` on.

    Time is a `StandingClock`, which `time.sleep` sets forward.
    """

    def __init__(self, refusal: Exception, seconds: float) -> None:
        self._refusal = refusal
        self._seconds = seconds
        self.clock = StandingClock()
        self.refused = 0
        self.began: float | None = None
        self.on_refusal: Callable[[Exception], None] = lambda refusal: None
        self._contexts: list[Any] = [
            self.clock,
            mock.patch.object(time, "sleep", self._sleep),
            connection.execute_wrapper(self._execute),
        ]

    def __enter__(self) -> Outage:
        for context in self._contexts:
            context.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*exc)

    def begin(self, *_: object) -> None:
        if self.began is None:
            self.began = self.clock.elapsed()

    def end(self) -> None:
        self._seconds = 0

    @property
    def lasts(self) -> bool:
        began = self.began
        return began is not None and self.clock.elapsed() < began + self._seconds

    def _sleep(self, seconds: float) -> None:
        self.clock.go_on(seconds)

    def _execute(self, execute: Any, *args: Any) -> Any:
        if self.lasts:
            self.refused += 1
            self.on_refusal(self._refusal)
            with connection.wrap_database_errors:
                raise self._refusal
        return execute(*args)

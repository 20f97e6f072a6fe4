"""Faults of the database: locked, sessions ended, silent, killed and restarted."""

from __future__ import annotations

import contextlib

from django.db import OperationalError, connection, transaction
from django.db.utils import Error

from drills.nemesis import Fault, Nemesis


class DatabaseTrouble(Nemesis):
    """The faults of the database that everything uses."""

    def database_trouble(self) -> Fault:
        """Return the faults that also a shared database tolerates."""
        if connection.vendor == "sqlite":
            seconds = self._random.uniform(0.5, 3)
            return "database locked", lambda: self._lock_sqlite(seconds)
        return "database sessions killed", kill_sessions

    def restart_database(self) -> Fault:
        """Kill the database; it recovers when it is started again."""
        seconds = self._random.uniform(0, 5)

        def act() -> object:
            server = self._system.database
            return server is not None and self._restart(server, seconds)

        return "database killed", act

    def silence_database(self) -> Fault:
        """Let no byte pass, then end all connections at once."""
        seconds = self._random.uniform(1, 12)

        def act() -> object:
            proxy = self._system.proxy
            if proxy is None or "proxy" in self._hurt:
                return False
            self._hurt.add("proxy")
            proxy.black_hole()
            self._later(seconds, end)
            return True

        def end() -> None:
            if (proxy := self._system.proxy) is not None:
                proxy.heal()
                proxy.cut()
            self._hurt.discard("proxy")

        return "database silent", act

    def _lock_sqlite(self, seconds: float) -> bool:
        if connection.in_atomic_block:
            return False
        block = transaction.atomic()
        try:
            block.__enter__()
        except OperationalError:
            return False  # a frozen process holds the lock: it is hurt already
        self._later(seconds, lambda: block.__exit__(None, None, None))
        return True


def kill_sessions() -> int:
    """End every other session of this database; return how many there were."""
    connection.close()  # the server may have been another one's, a moment ago
    with contextlib.suppress(Error):
        return _kill_sessions()
    return 0


def _kill_sessions() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return len(cursor.fetchall())
        cursor.execute(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        ids = [row[0] for row in cursor.fetchall()]
        for session in ids:
            # It may have ended meanwhile.
            with contextlib.suppress(Exception):
                cursor.execute(f"KILL {int(session)}")
        return len(ids)

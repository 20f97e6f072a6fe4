"""PostgreSQL whose time limits and isolation hold whatever stands in between.

PgBouncer in transaction mode gives each transaction any session of the server, so nothing
that is set for a session can be relied on, and should not be left behind for others.
Whether a pooler is there is asked: the process that answers is then not the one that the
greeting named. See docs/decisions/0016-limits-by-statements.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from wallets.utils.database.backends.postgresql import driver

# Seconds that the test of a connection may take: nobody has asked for anything yet.
PROBE_SECONDS = 3
# What the client waits longer than the server works: the server's word comes first.
MARGIN_SECONDS = 2

# The process that answers; and, if it is the one that has greeted us, limits for as long
# as the session lasts. All values in milliseconds, 0: none.
_BEGIN_SESSION = """
SELECT pg_backend_pid() <> %(greeted)s, CASE WHEN pg_backend_pid() = %(greeted)s THEN
    set_config('default_transaction_isolation', 'read committed', false)
    || set_config('lock_timeout', %(lock)s, false)
    || set_config('statement_timeout', %(statement)s, false)
    || set_config('idle_in_transaction_session_timeout', %(idle)s, false)
END
"""
_BEGIN_TRANSACTION = """
SELECT set_config('lock_timeout', %(lock)s, true),
    set_config('statement_timeout', %(statement)s, true),
    set_config('idle_in_transaction_session_timeout', %(idle)s, true)
"""
_UNLIMITED = """
SELECT set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true)
"""


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that knows whether the session it has is its own.

    OPTIONS has two entries more, in seconds: `lock_timeout`, and `statement_timeout` (0:
    none), which also limits how long a transaction may idle and the server be silent.
    """

    Database = driver
    # Whether each transaction may have another session of the server.
    pooled = False

    def get_connection_params(self) -> dict[str, Any]:
        """The driver's parameters: all but our own two."""
        params = super().get_connection_params()
        self._lock_seconds = float(params.pop("lock_timeout", 0))
        self._statement_seconds = float(params.pop("statement_timeout", 0))
        return params

    @property
    def silence_seconds(self) -> float | None:
        """How long the server may say nothing; None: for ever."""
        if not self._statement_seconds:
            return None
        return self._statement_seconds + MARGIN_SECONDS

    def init_connection_state(self) -> None:
        """Find out whose session this is, and limit it if it is ours."""
        self.connection.silence_seconds = self.silence_seconds
        greeted = self.connection.info.backend_pid
        with psycopg.Cursor(self.connection) as cursor:
            cursor.execute(_BEGIN_SESSION, {"greeted": greeted, **self._limits()})
            ((self.pooled, _),) = cursor.fetchall()
        if self.pooled:
            # A statement that one session has planned is unknown to the next one.
            self.connection.prepare_threshold = None
        super().init_connection_state()

    def limit_transaction(self) -> None:
        """Limit the transaction that begins, where the session is not ours.

        BEGIN goes with it: no way to the server and back is added.
        """
        if not self.pooled:
            return
        with (
            self.wrap_database_errors,
            self.connection.pipeline(),
            psycopg.Cursor(self.connection) as cursor,
        ):
            cursor.execute(_BEGIN_TRANSACTION, self._limits())

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Have no statement of this transaction cut off: it reads a great deal."""
        with self.cursor() as cursor:
            cursor.execute(_UNLIMITED)
        session = self.connection
        session.silence_seconds = None
        try:
            yield
        finally:
            session.silence_seconds = self.silence_seconds

    def is_usable(self) -> bool:
        """Whether the server answers, soon."""
        session = self.connection
        if session is None:
            return False
        session.silence_seconds = PROBE_SECONDS
        try:
            return super().is_usable()
        finally:
            session.silence_seconds = self.silence_seconds

    def _limits(self) -> dict[str, str]:
        statement = f"{self._statement_seconds * 1000:.0f}"
        idle = f"{3 * self._statement_seconds * 1000:.0f}"
        lock = f"{self._lock_seconds * 1000:.0f}"
        return {"lock": lock, "statement": statement, "idle": idle}

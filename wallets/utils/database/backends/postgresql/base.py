"""PostgreSQL with time limits and isolation that also hold behind a pooler.

PgBouncer in transaction mode gives each transaction any session of the server, so
settings of a session are not reliable, and would affect others. A pooler is detected by
a query: the answering process is not the one that accepted the connection. See
docs/decisions/0016-limits-by-statements.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from wallets.utils.database.backends.postgresql import driver
from wallets.utils.database.read_only import NoticesReadOnly

# Seconds for the test of an idle connection.
PROBE_SECONDS = 3
# The client waits longer than the server's limit by this, so that the server's error
# comes first.
MARGIN_SECONDS = 2

# A bank may be called as soon as a claim is committed, so a crash must not lose COMMITs.
# Other values than 'off' are durable on this server, and stay as the operator set them.
_DURABLE = """
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
    ELSE current_setting('synchronous_commit') END
"""

# Reads the answering process. If it is the one that accepted the connection, sets the
# limits of the session. Values in milliseconds; 0: no limit.
_BEGIN_SESSION = f"""
SELECT pg_backend_pid() <> %(greeted)s, CASE WHEN pg_backend_pid() = %(greeted)s THEN
    set_config('default_transaction_isolation', 'read committed', false)
    || set_config('lock_timeout', %(lock)s, false)
    || set_config('statement_timeout', %(statement)s, false)
    || set_config('idle_in_transaction_session_timeout', %(idle)s, false)
    || set_config('synchronous_commit', {_DURABLE}, false)
END
"""
_BEGIN_TRANSACTION = f"""
SELECT set_config('lock_timeout', %(lock)s, true),
    set_config('statement_timeout', %(statement)s, true),
    set_config('idle_in_transaction_session_timeout', %(idle)s, true),
    set_config('synchronous_commit', {_DURABLE}, true)
"""
_UNLIMITED = """
SELECT set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true)
"""


class DatabaseWrapper(NoticesReadOnly, base.DatabaseWrapper):
    """A connection that knows whether its session is its own.

    Two further OPTIONS, in seconds: `lock_timeout` and `statement_timeout` (0: none).
    The latter also limits idle transactions and the silence of the server.
    """

    Database = driver
    # Whether each transaction may have another session of the server.
    pooled = False

    def get_connection_params(self) -> dict[str, Any]:
        """Return the driver's parameters, without our two options."""
        params = super().get_connection_params()
        self._lock_seconds = float(params.pop("lock_timeout", 0))
        self._statement_seconds = float(params.pop("statement_timeout", 0))
        return params

    @property
    def silence_seconds(self) -> float | None:
        """How long the server may be silent (seconds); None: no limit."""
        if not self._statement_seconds:
            return None
        return self._statement_seconds + MARGIN_SECONDS

    def init_connection_state(self) -> None:
        """Detect a pooler; without one set the limits of the session."""
        self.connection.silence_seconds = self.silence_seconds
        greeted = self.connection.info.backend_pid
        with psycopg.Cursor(self.connection) as cursor:
            cursor.execute(_BEGIN_SESSION, {"greeted": greeted, **self._limits()})
            ((self.pooled, _),) = cursor.fetchall()
        if self.pooled:
            # A statement prepared in one session is unknown in the next one.
            self.connection.prepare_threshold = None
        super().init_connection_state()

    def limit_transaction(self) -> None:
        """Set the limits of the new transaction, if there is a pooler.

        They are sent together with BEGIN, so there is no further round trip.
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
        """Remove the time limits of this transaction, which reads a lot."""
        with self.cursor() as cursor:
            cursor.execute(_UNLIMITED)
        session = self.connection
        session.silence_seconds = None
        try:
            yield
        finally:
            session.silence_seconds = self.silence_seconds

    def is_usable(self) -> bool:
        """Whether the server answers within PROBE_SECONDS."""
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

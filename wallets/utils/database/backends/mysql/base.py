"""MySQL and MariaDB with our session settings, whatever DATABASE_URL says."""

from __future__ import annotations

from typing import Any

from django.db.backends.mysql import base

from wallets.utils.database.backends.mysql.features import DatabaseFeatures
from wallets.utils.database.backends.mysql.schema import DatabaseSchemaEditor
from wallets.utils.database.read_only import NoticesReadOnly

# Seconds after which MySQL ends the session of a vanished client and releases its
# locks. MariaDB has a variable for idle transactions.
ABANDONED_SECONDS = 300

# Only MariaDB reads a comment that begins with `M!`; MySQL lacks these variables.
_BEGIN_SESSION = """
SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', innodb_lock_wait_timeout = %(lock)s,
    wait_timeout = %(abandoned)s
    /*M!100301 , max_statement_time = %(statement)s,
    idle_transaction_timeout = %(idle)s */
"""


class DatabaseWrapper(NoticesReadOnly, base.DatabaseWrapper):
    """Two further OPTIONS, in seconds: `lock_timeout` and `statement_timeout`.

    `statement_timeout` (0: none) also limits idle transactions. The driver's
    `read_timeout` limits how long the server may be silent.
    """

    features_class = DatabaseFeatures
    SchemaEditorClass = DatabaseSchemaEditor

    def get_connection_params(self) -> dict[str, Any]:
        """Return the driver's parameters, without our two options."""
        params = super().get_connection_params()
        self._lock_seconds = int(params.pop("lock_timeout", 0))
        self._statement_seconds = float(params.pop("statement_timeout", 0))
        self.silence_seconds: float | None = params.get("read_timeout")
        return params

    def init_connection_state(self) -> None:
        """Set the session's variables, after any `init_command`."""
        super().init_connection_state()
        limits = {
            "lock": self._lock_seconds,
            "statement": self._statement_seconds,
            "idle": round(3 * self._statement_seconds),
            "abandoned": ABANDONED_SECONDS,
        }
        with self.cursor() as cursor:
            cursor.execute(_BEGIN_SESSION, limits)

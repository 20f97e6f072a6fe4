"""MySQL and MariaDB whose session is as ours must be, whatever the address says."""

from __future__ import annotations

from typing import Any

from django.db.backends.mysql import base

from wallets.utils.database.backends.mysql.features import DatabaseFeatures

# Seconds after which MySQL ends the session of a client that has vanished, and with it
# the locks that it held. MariaDB has a variable for sessions in a transaction.
ABANDONED_SECONDS = 300

# Only MariaDB reads what begins with `M!`: MySQL has no such variables.
_BEGIN_SESSION = """
SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', innodb_lock_wait_timeout = %(lock)s,
    wait_timeout = %(abandoned)s
    /*M!100301 , max_statement_time = %(statement)s,
    idle_transaction_timeout = %(idle)s */
"""


class DatabaseWrapper(base.DatabaseWrapper):
    """OPTIONS has two entries more, in seconds: `lock_timeout` and `statement_timeout`.

    The latter (0: none) also limits how long a transaction may idle; how long the server
    may be silent is the driver's `read_timeout`.
    """

    features_class = DatabaseFeatures

    def get_connection_params(self) -> dict[str, Any]:
        """The driver's parameters: all but our own two."""
        params = super().get_connection_params()
        self._lock_seconds = int(params.pop("lock_timeout", 0))
        self._statement_seconds = float(params.pop("statement_timeout", 0))
        self.silence_seconds: float | None = params.get("read_timeout")
        return params

    def init_connection_state(self) -> None:
        """Set the session up, whatever `init_command` the address has named."""
        super().init_connection_state()
        limits = {
            "lock": self._lock_seconds,
            "statement": self._statement_seconds,
            "idle": round(3 * self._statement_seconds),
            "abandoned": ABANDONED_SECONDS,
        }
        with self.cursor() as cursor:
            cursor.execute(_BEGIN_SESSION, limits)

"""The number of deadlocks that a database server has counted."""

from __future__ import annotations

from django.db import connection

# MariaDB and MySQL count those of all their databases together.
_COUNTS = {
    "postgresql": "SELECT deadlocks FROM pg_stat_database "
    "WHERE datname = current_database()",
    "mysql": "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'",
}


def counted() -> int:
    """Return the number so far; 0 where none are counted: SQLite, MySQL."""
    if connection.vendor not in _COUNTS:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS[connection.vendor])
        row = cursor.fetchone()
    connection.close()
    return int(row[-1]) if row else 0

"""A database that accepts no writes: a hot standby, or the old primary of a fail-over.

It is away, as one that does not answer: a new session may reach the new primary.
"""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

# PostgreSQL: read_only_sql_transaction.
_SQLSTATE = "25006"
# The server's option (read_only), the transaction, the server's mode.
_NUMBERS = (1290, 1792, 1836)
_WRITABLE = {"0", "OFF"}


class NoticesReadOnly:
    """A mix-in for Django's `DatabaseWrapper`."""

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        """Return what turns the driver's errors into Django's."""
        return _Errors(self)


class _Errors(DatabaseErrorWrapper):
    """A refused write is an OperationalError, and the session ends after the work."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            return
        if _is_refused_write(error):
            # When the request or the task ends, Django closes what is this old.
            self.wrapper.close_at = 0  # type: ignore[attr-defined]
            raise OperationalError(*error.args).with_traceback(traceback) from error
        super().__exit__(kind, error, traceback)


def _is_refused_write(error: Any) -> bool:
    if getattr(error, "sqlstate", None) == _SQLSTATE:
        return True
    return bool(error.args) and error.args[0] in _NUMBERS


def is_read_only(connection: Any) -> bool:
    """Whether the database accepts no writes from this session. One query."""
    if connection.vendor == "postgresql":
        sql = "SHOW transaction_read_only"  # on a hot standby it is always on
    elif connection.vendor == "mysql":
        # MariaDB has MySQL's new name only since 11.1. `super_read_only` sets the first.
        old = connection.mysql_is_mariadb and connection.mysql_version < (11, 1)
        name = "tx_read_only" if old else "transaction_read_only"
        sql = f"SELECT @@global.read_only, @@session.{name}"
    else:
        sql = "PRAGMA query_only"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return any(str(one).upper() not in _WRITABLE for one in cursor.fetchone())

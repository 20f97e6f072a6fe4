"""The meaning of database errors, for each driver."""

from __future__ import annotations

from django.db import IntegrityError, InterfaceError, OperationalError, connection

from wallets.errors import LostRace

# Serialization failure, deadlock, lock not available.
_PG_RETRY = {"40001", "40P01", "55P03"}
# Deadlock, lock wait time-out, record changed since last read.
_MYSQL_RETRY = {1213, 1205, 1020}
# Gone away, lost connection.
_MYSQL_LOST = {2006, 2013}


def may_be_over_next_time(error: Exception) -> bool:
    """Whether the same work may succeed when it is run again as a whole."""
    if connection.in_atomic_block:
        return False  # the transaction of a test case, which the error has broken
    if isinstance(error, (LostRace, IntegrityError)):
        return True  # another transaction was first: the next run sees its row
    if connection.vendor == "postgresql":
        return _sqlstate(error) in _PG_RETRY or is_connection_lost(error)
    if connection.vendor == "mysql":
        return _number(error) in _MYSQL_RETRY or is_connection_lost(error)
    return "locked" in str(error) or "busy" in str(error)


def is_connection_lost(error: Exception) -> bool:
    """Whether an existing session has ended; its last statement is in doubt."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    if connection.vendor == "mysql":
        return _number(error) in _MYSQL_LOST or isinstance(error, InterfaceError)
    if connection.vendor != "postgresql":
        return False
    # No SQLSTATE, class 08, or an administrator's stop.
    state = _sqlstate(error)
    if state is None:
        # A server that cannot be reached is not retried here.
        return connection.connection is not None
    return state.startswith(("08", "57P"))


def is_lock_timeout(error: Exception) -> bool:
    """Whether another transaction held a needed lock for too long."""
    if connection.vendor == "postgresql":
        return _sqlstate(error) == "55P03"
    if connection.vendor == "mysql":
        # 3572: MySQL's error for NOWAIT.
        return _number(error) in (1205, 3572)
    return "locked" in str(error)


def _sqlstate(error: Exception) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)


def _number(error: Exception) -> object:
    cause = error.__cause__
    return cause.args[0] if cause is not None and cause.args else None

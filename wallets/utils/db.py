"""Transactions: the one helper that retries them, and the database's clock.

No database error is ever caught inside `atomic()`: on MariaDB a deadlock has already
rolled back half of the work, and going on would commit the other half. What fails is run
again whole, from outside.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from datetime import timezone as dt_timezone
from typing import Any, TypeVar

from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.db.models import Model, QuerySet
from django.utils import timezone

from wallets.errors import InsideTransaction, LostRace
from wallets.utils import clock

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_RUNS = 5
# A client waits: one lock time-out is answered "come back", not waited for again.
CLIENT_PATIENCE_SECONDS = 3.0
# Serialization failure, deadlock, lock not available.
_PG_RETRY = {"40001", "40P01", "55P03"}
# Deadlock, lock wait time-out, record changed since last read, gone away, lost connection.
_MYSQL_RETRY = {1213, 1205, 1020, 2006, 2013}


def run_in_transaction(
    work: Callable[[], T], *, patience: float = math.inf, one_statement: bool = False
) -> T:
    """Run `work` in a transaction of its own and return what it returns.

    `work` that is `one_statement` is a transaction by itself, without BEGIN and COMMIT.

    Run again, whole and a bounded number of times, after a deadlock, a lock time-out, a
    serialization failure, a lost connection, a lost race, or a unique key that somebody
    else took first. A COMMIT whose reply was lost may have happened: `work` must
    recognise what an earlier run of itself has written. A lock time-out later than
    `patience` (seconds) is not tried again.

    :raises RuntimeError: when called inside a transaction, where it could not retry.
    """
    ends = clock.elapsed() + patience
    taken = 0  # how often a unique key was somebody else's
    for run in range(1, MAX_RUNS + 1):
        try:
            with _transaction(one_statement):
                return work()
        except (DatabaseError, InterfaceError, LostRace) as error:
            taken += isinstance(error, IntegrityError)
            if run == MAX_RUNS or taken > 1 or not _worth_another_run(error):
                raise
            if is_lock_timeout(error) and clock.elapsed() >= ends:
                raise
            logger.info("transaction run again after %s", type(error).__name__)
            if connection.connection is not None and not connection.is_usable():
                connection.close()
        time.sleep(random.uniform(0, 0.02 * 2**run))  # noqa: S311 (no secret)
    raise AssertionError("unreachable: the last run returns or raises")


def run_unless_locked(
    work: Callable[[], T], *, one_statement: bool = False
) -> T | None:
    """Run `work` as `run_in_transaction` does; None, and no other run, if a lock timed out."""
    try:
        return run_in_transaction(work, patience=0, one_statement=one_statement)
    except DatabaseError as error:
        if not is_lock_timeout(error):
            raise
        return None


def _transaction(one_statement: bool) -> AbstractContextManager[None]:
    if one_statement and not connection.in_atomic_block:
        return nullcontext()
    return transaction.atomic(durable=True)


def execute_prepared(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement that a connection plans once, and return its rows. PostgreSQL only.

    Whether the connection still lives is not asked before: call it in
    `run_in_transaction`, which opens another one and runs it again.
    """
    import psycopg

    database: Any = connections[DEFAULT_DB_ALIAS]
    if database.connection is None:
        database.ensure_connection()
    # Django's own cursor sends the values inside the statement, a new one each time.
    cursor = psycopg.Cursor(database.connection)
    with database._prepare_cursor(cursor) as prepared:
        prepared.execute(sql, params)
        return prepared.fetchall()


def _worth_another_run(error: Exception) -> bool:
    if connection.in_atomic_block:
        return False  # a test case's own transaction, broken by the error
    if isinstance(error, (LostRace, IntegrityError)):
        return True  # somebody was faster: the next run sees their row
    cause = error.__cause__
    if connection.vendor == "postgresql":
        state = getattr(cause, "sqlstate", None)
        return state in _PG_RETRY or _connection_lost(error, state)
    if connection.vendor == "mysql":
        code = cause.args[0] if cause is not None and cause.args else None
        return code in _MYSQL_RETRY or isinstance(error, InterfaceError)
    return "locked" in str(error) or "busy" in str(error)


def _connection_lost(error: Exception, sqlstate: str | None) -> bool:
    """A PostgreSQL session that ended: no state at all, class 08, or an admin's stop."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    if sqlstate is None:
        # A server that cannot be reached at all is not worth waiting for here.
        return connection.connection is not None
    return sqlstate.startswith(("08", "57P"))


def is_lock_timeout(error: Exception) -> bool:
    """Whether another transaction held, for too long, what this one needed."""
    cause = error.__cause__
    if connection.vendor == "postgresql":
        return getattr(cause, "sqlstate", None) == "55P03"
    if connection.vendor == "mysql":
        # The second is MySQL's word for a lock that is not waited for.
        return cause is not None and cause.args[:1] in ((1205,), (3572,))
    return "locked" in str(error)


def refuse_inside_transaction(what: str) -> None:
    """Raise unless no transaction is open, the test runner's own excepted.

    :raises InsideTransaction: when a transaction is open.
    """
    blocks = getattr(connection, "atomic_blocks", [])
    if any(not block._from_testcase for block in blocks):
        raise InsideTransaction(f"{what} inside a database transaction")


def database_now() -> datetime:
    """The database's clock (UTC): one clock for all machines.

    Whether a withdrawal is due and a lease is over must not depend on which machine asks.
    """
    if connection.vendor == "sqlite":
        return timezone.now()  # the database is this machine
    sql = (
        "SELECT clock_timestamp()"
        if connection.vendor == "postgresql"
        else "SELECT UTC_TIMESTAMP(6)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        (now,) = cursor.fetchone()
    return now if timezone.is_aware(now) else now.replace(tzinfo=dt_timezone.utc)


@contextmanager
def read_snapshot() -> Iterator[None]:
    """A transaction that sees the database as of one moment and blocks no writer."""
    mode = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined]
    try:
        with transaction.atomic(durable=True):
            if connection.vendor in ("postgresql", "mysql"):
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = mode  # type: ignore[attr-defined]


@contextmanager
def read_by_index() -> Iterator[None]:
    """Have PostgreSQL read rows in an index's order, not sort them. In a transaction.

    When it last counted, a queue was mostly empty, so it would read and sort all that is
    due: for each claim of a few, over the dead rows of all that was claimed before.
    """
    if connection.vendor != "postgresql":
        yield
        return
    sql = (
        "SELECT set_config('enable_sort', %s, true), "
        "set_config('enable_incremental_sort', %s, true)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, ["off", "off"])
        yield
        # After an error there is nothing to set back: it ends with the transaction.
        cursor.execute(sql, ["on", "on"])


def lock_rows(rows: QuerySet[Any], *, skip_locked: bool = False) -> Sequence[Any]:
    """Lock the rows in the query's order and return them. Call inside a transaction.

    On SQLite the transaction itself is the lock (it began IMMEDIATE).
    """
    can = connection.features
    if can.has_select_for_update:
        rows = rows.select_for_update(
            skip_locked=skip_locked and can.has_select_for_update_skip_locked,
            # The key is never changed, so a new row that refers to it need not wait.
            no_key=can.has_select_for_no_key_update,
        )
    return list(rows)


def guarded_update(model: type[Model], guard: dict[str, Any], **changes: Any) -> None:
    """UPDATE the one row that still is as `guard` says. Call inside a transaction.

    :raises LostRace: when no such row is left: somebody else won.
    """
    if model._default_manager.filter(**guard).update(**changes) != 1:
        raise LostRace(f"{model.__name__} {guard}")

"""Transactions with retries, locks, guarded updates, and the database's clock.

No database error is caught inside `atomic()`: on MariaDB a deadlock has already rolled
back half of the work, and going on would commit the other half. Failed work is run
again as a whole, from outside.
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
    DatabaseError,
    IntegrityError,
    InterfaceError,
    connection,
    transaction,
)
from django.db.models import Model, QuerySet
from django.utils import timezone

from wallets.errors import InsideTransaction, LostRace
from wallets.utils import clock
from wallets.utils.database.errors import (
    is_connection_lost,
    is_lock_timeout,
    may_be_over_next_time,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_RUNS = 5
# For a waiting client: after one lock time-out it gets an answer instead of a retry.
CLIENT_PATIENCE_SECONDS = 3.0


def run_in_transaction(
    work: Callable[[], T], *, patience: float = math.inf, one_statement: bool = False
) -> T:
    """Run `work` in a transaction of its own and return its result.

    Call outside a transaction. With `one_statement` the work is one statement, which
    needs no BEGIN and COMMIT.

    The work is run again, as a whole and at most MAX_RUNS times, after a deadlock, a
    lock time-out, a serialization failure, a lost connection, a lost race, or a unique
    key that another transaction took first. If the reply to a COMMIT was lost, it may
    have happened: `work` must recognise what an earlier run has written. A lock
    time-out later than `patience` (seconds) is not retried, nor is an error that took
    as long as a silent server.

    :raises RuntimeError: called inside a transaction, where it could not retry.
    """
    began = clock.elapsed()
    ends = began + patience
    taken = 0  # how often a unique key was taken
    for run in range(1, MAX_RUNS + 1):
        try:
            with _transaction(one_statement):
                return work()
        except (DatabaseError, InterfaceError, LostRace) as error:
            taken += isinstance(error, IntegrityError)
            if run == MAX_RUNS or taken > 1 or not may_be_over_next_time(error):
                raise
            failed = clock.elapsed()
            if is_lock_timeout(error) and failed >= ends:
                raise
            if failed - began >= _silence() and is_connection_lost(error):
                raise  # a silent server would be silent again
            began = failed
            logger.info("transaction run again after %s", type(error).__name__)
            if connection.connection is not None and not connection.is_usable():
                connection.close()
        time.sleep(random.uniform(0, 0.02 * 2**run))  # noqa: S311 (no secret)
    raise AssertionError("unreachable: the last run returns or raises")


def run_unless_locked(
    work: Callable[[], T], *, one_statement: bool = False
) -> T | None:
    """Run `work` as `run_in_transaction`; return None after a lock time-out."""
    try:
        return run_in_transaction(work, patience=0, one_statement=one_statement)
    except DatabaseError as error:
        if not is_lock_timeout(error):
            raise
        return None


def done_unless_locked(work: Callable[[], object]) -> bool:
    """Run `work` in a savepoint; return whether it is done, and undo it if not.

    Call inside a transaction on PostgreSQL, where a rollback to a savepoint also
    releases the locks that were taken after it.
    """
    try:
        with transaction.atomic():
            work()
    except DatabaseError as error:
        if not is_lock_timeout(error):
            raise
        return False
    return True


def _transaction(one_statement: bool) -> AbstractContextManager[None]:
    if one_statement and not connection.in_atomic_block and _session_is_ours():
        return nullcontext()
    return _limited_transaction()


def _session_is_ours() -> bool:
    """Whether the session keeps its limits; behind a pooler it does not."""
    if connection.connection is None:
        connection.ensure_connection()
    return not getattr(connection, "pooled", False)


@contextmanager
def _limited_transaction() -> Iterator[None]:
    with transaction.atomic(durable=True):
        if getattr(connection, "pooled", False):
            connection.limit_transaction()  # type: ignore[attr-defined]
        yield


def _silence() -> float:
    """Return the least seconds of a run whose server fell silent."""
    return getattr(connection, "silence_seconds", None) or math.inf


def refuse_inside_transaction(what: str) -> None:
    """Raise if a transaction is open; that of a test case does not count.

    :raises InsideTransaction: a transaction is open.
    """
    blocks = getattr(connection, "atomic_blocks", [])
    if any(not block._from_testcase for block in blocks):
        raise InsideTransaction(f"{what} inside a database transaction")


def database_now() -> datetime:
    """Return the time of the database's clock (UTC): one clock for all machines.

    Due times and leases must not depend on the machine.
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
    """A transaction that reads one state of the database and blocks no writer.

    On PostgreSQL its statements have no time limit; on MySQL and MariaDB they have one
    if DATABASE_STATEMENT_TIMEOUT is set.
    """
    mode = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined]
    try:
        with transaction.atomic(durable=True):
            if connection.vendor in ("postgresql", "mysql"):
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with getattr(connection, "unhurried", nullcontext)():
                yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = mode  # type: ignore[attr-defined]


@contextmanager
def read_by_index() -> Iterator[None]:
    """Make PostgreSQL read rows in an index's order, without sorting. In a transaction.

    A queue is mostly empty when PostgreSQL takes statistics, so its plan would read and
    sort all due rows for each claim, together with the dead rows of earlier claims.
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
        # After an error the setting ends with the transaction.
        cursor.execute(sql, ["on", "on"])


@contextmanager
def read_in_order() -> Iterator[None]:
    """As `read_by_index`, for one statement that only reads, in its own transaction.

    With statistics of small wallets PostgreSQL would read and sort all rows of a large
    one.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), read_by_index():
        yield


def limit_lock_wait(seconds: float) -> None:
    """Limit the wait for a lock (seconds) in the open transaction. PostgreSQL only.

    On other engines it does nothing: a wait cannot be shorter than a second there.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        sql = "SELECT set_config('lock_timeout', %s, true)"
        cursor.execute(sql, [f"{seconds * 1000:.0f}"])


def lock_rows(
    rows: QuerySet[Any], *, skip_locked: bool = False, against_new_rows: bool = False
) -> Sequence[Any]:
    """Lock the rows in the query's order and return them. Call inside a transaction.

    With `against_new_rows` new rows that refer to them wait, too. On SQLite the
    transaction itself is the lock (it began IMMEDIATE).
    """
    can = connection.features
    if can.has_select_for_update:
        rows = rows.select_for_update(
            skip_locked=skip_locked and can.has_select_for_update_skip_locked,
            # The key never changes, so new rows that refer to it need not wait.
            no_key=can.has_select_for_no_key_update and not against_new_rows,
        )
    return list(rows)


def guarded_update(model: type[Model], guard: dict[str, Any], **changes: Any) -> None:
    """UPDATE the row that matches `guard`. Call inside a transaction.

    :raises LostRace: no row matches: another transaction has changed it.
    """
    if model._default_manager.filter(**guard).update(**changes) != 1:
        raise LostRace(f"{model.__name__} {guard}")

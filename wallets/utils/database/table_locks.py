"""Locks the tables of a migration before it changes the first of them.

On PostgreSQL a migration keeps each lock until its end. Without this, it would build an
index of one table, which may take minutes, and then wait for a second table. A writer
has changed a row of the second one and waits for the first: a deadlock, and after each
build the migration is undone.

All tables are locked at the beginning, or none. Each wait is shorter than the time
after which PostgreSQL looks for a deadlock, and then all locks are released. So the
order in which writers use the tables does not matter, and those who wait behind the
migration go on between two tries, even if somebody else's transaction lasts for hours.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from django.db import OperationalError
from django.db.migrations.operations.base import Operation

from wallets.utils import clock
from wallets.utils.database.transactions import done_unless_locked

# Less than PostgreSQL's `deadlock_timeout`, which is a second.
TRY_SECONDS = 0.5
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 60.0


class LockTables(Operation):
    """The first operation of a migration that changes these tables."""

    reduces_to_sql = False

    def __init__(self, *tables: str) -> None:
        self.tables = tables

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing in the models."""

    def database_forwards(self, app_label: str, schema_editor: Any, *_: Any) -> None:
        """Lock the tables until the migration ends."""
        take(schema_editor.connection, self.tables)

    def database_backwards(self, app_label: str, schema_editor: Any, *_: Any) -> None:
        """Lock nothing: this operation is then the last one."""

    def describe(self) -> str:
        """Return what `sqlmigrate` says about it."""
        return f"Lock {', '.join(self.tables)}"


def take(connection: Any, tables: tuple[str, ...]) -> None:
    """Lock the tables against readers and writers. Call inside a transaction.

    On other engines it does nothing: SQLite has one writer, and MySQL and MariaDB keep
    no lock from one change of a table to the next.

    :raises OperationalError: other transactions have used a table all the time.
    """
    if connection.vendor != "postgresql":
        return
    ends = clock.elapsed() + PATIENCE_SECONDS
    while not done_unless_locked(partial(_lock, connection, tables)):
        if clock.elapsed() >= ends:
            raise OperationalError(
                f"other transactions have used {', '.join(tables)} for"
                f" {PATIENCE_SECONDS:.0f} seconds, nothing was changed: end what takes"
                " long (pg_stat_activity names it), and migrate again"
            )
        time.sleep(PAUSE_SECONDS)


def _lock(connection: Any, tables: tuple[str, ...]) -> None:
    """Lock all tables, and wait for each for TRY_SECONDS at most."""
    names = ", ".join(map(connection.ops.quote_name, tables))
    limit = "SELECT set_config('lock_timeout', %s, true)"
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (before,) = cursor.fetchone()
        cursor.execute(limit, [f"{TRY_SECONDS * 1000:.0f}"])
        cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(limit, [before])

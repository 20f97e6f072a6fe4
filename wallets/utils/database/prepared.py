"""Statements that PostgreSQL plans once for a connection; their values, as it takes them best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


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
    # In a third of the time that the driver needs for rows of text.
    cursor.format = psycopg.pq.Format.BINARY
    with database._prepare_cursor(cursor) as prepared:
        prepared.execute(sql, params)
        return prepared.fetchall()


def array(values: Iterable[object]) -> str:
    """An array of PostgreSQL's, as text: a third of the driver's work with a list.

    Of what needs no quotes: integers, UUIDs, instants as ISO 8601 writes them.
    """
    return "{" + ",".join(map(str, values)) + "}"


def patience(lock_wait: float | None) -> str:
    """What a statement begins its first FROM with to wait so many seconds for a lock.

    None: nothing, and it waits as long as every statement.
    """
    if lock_wait is None:
        return ""
    milliseconds = round(lock_wait * 1000)
    return f"(SELECT set_config('lock_timeout', '{milliseconds}ms', true)) AS patience,"

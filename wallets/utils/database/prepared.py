"""Prepared statements of PostgreSQL, and forms of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


def execute_prepared(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement that each connection prepares once; return its rows.

    PostgreSQL only. It does not test the connection first: call it in
    `run_in_transaction`, which runs it again on a new one.
    """
    import psycopg

    database: Any = connections[DEFAULT_DB_ALIAS]
    if database.connection is None:
        database.ensure_connection()
    # Django's cursor sends the values inside the statement, which is then a new one
    # each time.
    cursor = _cursor_class()(database.connection)
    # Binary rows take the driver a third of the time of text.
    cursor.format = psycopg.pq.Format.BINARY
    with database._prepare_cursor(cursor) as prepared:
        prepared.execute(sql, params)
        return prepared.fetchall()


@lru_cache
def native(sql: str) -> tuple[str, list[str]]:
    """Return a statement with PostgreSQL's places for values, and the values' names.

    The driver would do this too, but remembers it only of statements of up to 4,096
    characters. A transfer's is longer, and was read anew each time.
    """
    names: list[str] = []

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return re.sub(r"%(?:%|\((\w+)\)s)", place, sql), names


@lru_cache
def _cursor_class() -> Any:
    """Return the class of cursors; only PostgreSQL needs the driver."""
    import psycopg

    class Cursor(psycopg.RawCursor[Any]):
        """A cursor for named values that reads each statement once."""

        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            values: Mapping[str, Any] = params
            sql, names = native(query)
            return super().execute(sql, [values[name] for name in names], **options)

    return Cursor


def array(values: Iterable[object]) -> str:
    """Return an array of PostgreSQL as text.

    A list takes the driver three times as long. For values without quotes: integers,
    UUIDs, ISO 8601 instants.
    """
    return "{" + ",".join(map(str, values)) + "}"


def patience(lock_wait: float | None) -> str:
    """Return the beginning of a statement's first FROM that limits its wait for locks.

    None: empty, the usual limit applies.
    """
    if lock_wait is None:
        return ""
    milliseconds = round(lock_wait * 1000)
    return f"(SELECT set_config('lock_timeout', '{milliseconds}ms', true)) AS patience,"

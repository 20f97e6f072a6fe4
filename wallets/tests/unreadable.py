"""Rows that the database holds and Django cannot read, or cannot count on from."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import Model

# Times that no driver can read, and that are earlier than all others: SQLite holds any
# text, MySQL a zero date, PostgreSQL the beginning of time. Django reads the second text
# of SQLite as None, unless it comes from an expression.
TIMES = {
    "sqlite": ("'0000-99-99 00:00:00'", "'0x'"),
    "mysql": ("'0000-00-00 00:00:00'",),
    "postgresql": ("'-infinity'",),
}[connection.vendor]


def damage_time(row: Model, *columns: str, time: str = TIMES[0]) -> None:
    """Write a time that cannot be read into these columns, by SQL."""
    _write(row, columns, time)


def damage_count(row: Model, *columns: str) -> None:
    """Write a number into these columns after which there is none, by SQL."""
    for column in columns:
        kind = row._meta.get_field(column).get_internal_type()
        _, largest = connection.ops.integer_field_range(kind)
        _write(row, (column,), largest or 2**63 - 1)


def _write(row: Model, columns: tuple[str, ...], value: Any) -> None:
    changes = ", ".join(f"{column} = {value}" for column in columns)
    sql = f"UPDATE {row._meta.db_table} SET {changes} WHERE id = {row.pk}"
    with connection.cursor() as cursor:
        if connection.vendor != "mysql":
            cursor.execute(sql)
            return
        cursor.execute("SELECT @@sql_mode")
        (mode,) = cursor.fetchone()
        cursor.execute("SET sql_mode = ''")
        cursor.execute(sql)
        cursor.execute("SET sql_mode = %s", [mode])

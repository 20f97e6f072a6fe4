"""UUID columns on MySQL and MariaDB: text of 32 hexadecimal digits.

MariaDB's own type is not used: see `backends.mysql.features`. A migration changes
tables that Django's own backend has created with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import Model, UUIDField


class Column(NamedTuple):
    """A column by its names in the database."""

    table: str
    name: str
    nullable: bool


def native(connection: Any, models: Iterable[type[Model]]) -> list[Column]:
    """Return the columns with MariaDB's own type; none on other engines."""
    if connection.vendor != "mysql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, is_nullable FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND data_type = 'uuid'"
        )
        found = {
            (table, name): nullable == "YES"
            for table, name, nullable in cursor.fetchall()
        }
    return [
        Column(table, str(field.column), found[table, str(field.column)])
        for model in models
        for field in model._meta.concrete_fields
        if isinstance(field, UUIDField)
        and ((table := model._meta.db_table), str(field.column)) in found
    ]


def as_text(schema_editor: Any, columns: Iterable[Column]) -> None:
    """Change the columns to text and keep their values. DDL: call in a migration."""
    quote = schema_editor.quote_name
    for column in columns:
        table, name = quote(column.table), quote(column.name)
        null = "NULL" if column.nullable else "NOT NULL"
        # MariaDB's text has hyphens; ours has none.
        for sql in (
            f"ALTER TABLE {table} MODIFY {name} char(36) {null}",
            f"UPDATE {table} SET {name} = REPLACE({name}, '-', '')",  # noqa: S608
            f"ALTER TABLE {table} MODIFY {name} char(32) {null}",
        ):
            schema_editor.execute(sql)

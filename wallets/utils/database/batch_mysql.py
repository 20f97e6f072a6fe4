"""Inserts of many rows on MySQL and MariaDB, without Django's SQL compiler.

The INSERT lists its values. An INSERT … SELECT from JSON_TABLE would lock the table's
AUTO_INCREMENT on MariaDB until it ends, and delay all other inserts.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Field, JSONField, Model


def insert(
    model: type[Model], rows: Sequence[Model], *, unless_taken: str = ""
) -> dict[Any, Any]:
    """Insert the rows in order, all or none; or those whose `unless_taken` is new.

    Call inside a transaction. Returns the ids by `unless_taken`, if the engine reports
    the inserted rows. With `unless_taken` invalid rows are left out, too.
    """
    fields = _fields(model)
    values = [_value(field, row) for row in rows for field in fields]
    sql = _insert_sql(model, len(rows), unless_taken)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        returned = cursor.fetchall() if "RETURNING" in sql else ()
    if not returned:
        return {}
    (unique,) = (each for each in _fields(model) if each.column == unless_taken)
    return {unique.to_python(value): pk for value, pk in returned}


def tells_what_it_inserted() -> bool:
    """Whether the engine has RETURNING: MariaDB has, MySQL has not."""
    return bool(connection.features.can_return_rows_from_bulk_insert)


def place_of_uuid(value: UUID) -> bytes:
    """Return MariaDB's sort key of a UUID: versions 1 to 5 are stored end first."""
    known = value.bytes
    if 0 < known[6] < 0x60 and known[8] & 0x80:
        return known[10:] + known[8:10] + known[6:8] + known[4:6] + known[:4]
    return known


@functools.cache
def _fields(model: type[Model]) -> list[Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


def _value(field: Field[Any, Any], row: Model) -> Any:
    """Return the column's value for the driver."""
    value = field.pre_save(row, add=True)
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    if isinstance(value, UUID):
        return value.hex
    if isinstance(field, JSONField):
        return field.get_db_prep_save(value, connection)
    return value


@functools.lru_cache(maxsize=256)
def _insert_sql(model: type[Model], count: int, unless_taken: str) -> str:
    names = ", ".join(f"`{field.column}`" for field in _fields(model))
    row = f"({', '.join(['%s'] * len(_fields(model)))})"
    ignore = "IGNORE " if unless_taken else ""
    sql = (
        f"INSERT {ignore}INTO `{model._meta.db_table}` ({names}) "  # noqa: S608
        f"VALUES {', '.join([row] * count)}"
    )
    if unless_taken and tells_what_it_inserted():
        sql += f" RETURNING `{unless_taken}`, `{model._meta.pk.column}`"
    return sql

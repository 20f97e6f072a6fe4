"""Many rows in one INSERT on MySQL and MariaDB, without the work of Django's compiler.

It lists the values. An INSERT that selects them, from JSON_TABLE, would lock the table's
numbering on MariaDB until it ends, and whoever inserts would wait for whoever it waits for.
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
    """Insert new rows in their order, all or none; or those whose `unless_taken` is new.

    Call inside a transaction. Returns the ids by `unless_taken`, where the engine tells
    which rows it has inserted. With it, whatever else is wrong with a row leaves it out too.
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
    """Whether it is MariaDB: MySQL has no RETURNING."""
    return bool(connection.features.can_return_rows_from_bulk_insert)


def place_of_uuid(value: UUID) -> bytes:
    """The bytes in which MariaDB keeps a UUID: from version 1 to 5, its end comes first."""
    known = value.bytes
    if 0 < known[6] < 0x60 and known[8] & 0x80:
        return known[10:] + known[8:10] + known[6:8] + known[4:6] + known[:4]
    return known


@functools.cache
def _fields(model: type[Model]) -> list[Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


def _value(field: Field[Any, Any], row: Model) -> Any:
    """The column's value as the driver is to write it."""
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

"""Inserts and updates of many rows on MySQL and MariaDB, without Django's SQL compiler.

The INSERT lists its values. An INSERT … SELECT from JSON_TABLE would lock the table's
AUTO_INCREMENT on MariaDB until it ends, and delay all other inserts.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import (
    BooleanField,
    DateTimeField,
    Field,
    IntegerField,
    JSONField,
    Model,
)

_TEXT = "LONGTEXT"
Fields = tuple["Field[Any, Any]", ...]


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


def update(
    model: type[Model], guard: Fields, changes: Fields, rows: Sequence[Sequence[Any]]
) -> int:
    """Update the rows that match their guards; return their number.

    Call inside a transaction. Each of `rows` has the values of `guard`, then those of
    `changes`. The primary key is one of `guard`: rows are found and locked by it only.
    """
    fields = (*guard, *changes)
    values = [
        {
            f"c{place}": _plain(field, value)
            for place, (field, value) in enumerate(zip(fields, row, strict=True))
        }
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _update_sql(model, guard, changes), [json.dumps(values, default=str)]
        )
        return int(cursor.rowcount)


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
    return _plain(field, field.pre_save(row, add=True))


def _plain(field: Field[Any, Any], value: Any) -> Any:
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


@functools.lru_cache(maxsize=256)
def _update_sql(model: type[Model], guard: Fields, changes: Fields) -> str:
    columns = ", ".join(
        f"c{place} {_type(field)} PATH '$.c{place}'"
        for place, field in enumerate((*guard, *changes))
    )
    # BINARY: the collations of the table and of the document may differ.
    guards = " AND ".join(
        f"t.`{field.column}` = {'BINARY ' * (_type(field) == _TEXT)}d.c{place}"
        for place, field in enumerate(guard)
    )
    assignments = ", ".join(
        f"t.`{field.column}` = d.c{place}"
        for place, field in enumerate(changes, len(guard))
    )
    # Without the order and the index a small table would be read whole, and its locked
    # rows waited for.
    return (
        f"UPDATE JSON_TABLE(%s, '$[*]' COLUMNS ({columns})) AS d "  # noqa: S608
        f"STRAIGHT_JOIN `{model._meta.db_table}` AS t FORCE INDEX (PRIMARY) "
        f"ON {guards} SET {assignments}"
    )


def _type(field: Field[Any, Any]) -> str:
    """Return a type of JSON_TABLE that cuts no value: a wrong one is the table's error."""
    if isinstance(field, DateTimeField):
        return "DATETIME(6)"
    return "BIGINT" if isinstance(field, (IntegerField, BooleanField)) else _TEXT

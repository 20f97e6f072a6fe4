"""Updates and inserts of many rows, in one statement where the engine can.

The rows are sent as one JSON document where that is faster: the driver then encodes one
value instead of one for each column of each row, which took most of a drain's time.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import DateTimeField, Field, Model
from django.db.models.base import ModelState

from wallets.errors import LostRace
from wallets.utils.database import batch_mysql
from wallets.utils.database.batch_mysql import Fields
from wallets.utils.database.transactions import guarded_update

M = TypeVar("M", bound=Model)
# The column of values that must be new, and the one within which they are unique.
Unique = tuple[str, str]


@dataclass(frozen=True)
class GuardedUpdate:
    """Set `changes` in the row that matches `guard`; both by column."""

    guard: dict[str, Any]
    changes: dict[str, Any]


def guarded_updates(model: type[Model], updates: Iterable[GuardedUpdate]) -> None:
    """Execute the updates, all or none. Call inside a transaction.

    Each guard must name one row. The rows should be locked already, or be given in the
    common order of locks.

    :raises LostRace: a row has been changed by another transaction.
    """
    known = list(updates)
    update_many = _UPDATES.get(connection.vendor)
    if update_many is None or len(known) == 1:
        for update in known:
            guarded_update(model, update.guard, **update.changes)
        return
    # Each statement has one list of columns.
    shapes: dict[tuple[Any, ...], list[list[Any]]] = defaultdict(list)
    for update in known:
        values = [*update.guard.values(), *update.changes.values()]
        shapes[tuple(update.guard), tuple(update.changes)].append(values)
    for (guard, changes), rows in shapes.items():
        guards = tuple(_field(model, name) for name in guard)
        sets = tuple(_field(model, name) for name in changes)
        changed = update_many(model, guards, sets, rows)
        if changed != len(rows):
            raise LostRace(f"{model.__name__}: {changed} of {len(rows)} rows")


def insert_rows(model: type[Model], rows: Sequence[Model]) -> None:
    """Insert new rows, all or none. Call inside a transaction.

    The ids of the instances are not set.
    """
    if not rows:
        return
    if connection.vendor == "mysql":
        batch_mysql.insert(model, rows)
    elif connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(insert_sql(model), [as_json(columns_of(model, rows))])
    else:
        model._default_manager.bulk_create(rows)


def columns_of(model: type[Model], rows: Sequence[Model]) -> list[dict[str, Any]]:
    """Return the rows as dictionaries by column, as they are inserted."""
    plain, others = _insertable(model)
    values = []
    for row in rows:
        known = row.__dict__
        value = {column: known[name] for column, name in plain}
        for field in others:
            value[str(field.column)] = field.pre_save(row, add=True)
        values.append(value)
    return values


def as_stored(model: type[M], **columns: Any) -> M:
    """Return an instance of an existing row; other columns get their plain defaults.

    The instance is as if Django had read it.
    """
    row = as_new(model, **columns)
    row._state.adding = False
    row._state.db = DEFAULT_DB_ALIAS
    return row


def as_new(model: type[M], **columns: Any) -> M:
    """Return an instance of a new row, from the values of its columns.

    Computed defaults are not applied: pass those columns. It sets `__dict__` as
    `pickle` does, which takes a fraction of the time of the model's constructor; a
    drain makes five rows for each payout.
    """
    defaults = _plain_defaults(model)
    row = model.__new__(model)
    row.__dict__ = {"_state": ModelState(), **defaults, **columns}
    if len(row.__dict__) > 1 + len(defaults):
        raise TypeError(
            f"no columns of {model.__name__}: {set(columns) - set(defaults)}"
        )
    return row


@functools.cache
def _plain_defaults(model: type[Model]) -> dict[str, Any]:
    return {
        field.attname: None if callable(field.default) else field.get_default()
        for field in model._meta.concrete_fields
    }


def _update_many(
    model: type[Model], guard: Fields, changes: Fields, rows: Sequence[Sequence[Any]]
) -> int:
    columns = [f"guard_{field.column}" for field in guard]
    columns += [str(field.column) for field in changes]
    values = as_json([dict(zip(columns, row, strict=True)) for row in rows])
    with connection.cursor() as cursor:
        cursor.execute(_update_sql(model, guard, changes), [values])
        return int(cursor.rowcount)


_UPDATES = {"postgresql": _update_many, "mysql": batch_mysql.update}


def as_json(rows: Sequence[dict[Any, Any]]) -> str:
    """Return the rows as the parameter of `insert_sql`."""
    return json.dumps(rows, default=_plain)


# The names of columns and types come from the model; the values are one parameter.


@functools.cache
def _insertable(
    model: type[Model],
) -> tuple[list[tuple[str, str]], list[Field[Any, Any]]]:
    """Return the columns to insert as they are, and the fields with a `pre_save`."""
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    plain = [field for field in fields if type(field).pre_save is Field.pre_save]
    plain += [
        field
        for field in fields
        if isinstance(field, DateTimeField)
        and type(field).pre_save is DateTimeField.pre_save
        and not (field.auto_now or field.auto_now_add)
    ]
    return [(str(field.column), field.attname) for field in plain], [
        field for field in fields if field not in plain
    ]


@functools.cache
def insert_sql(model: type[Model], unless_taken: Unique | None = None) -> str:
    """Return the INSERT of PostgreSQL, whose parameter has all rows.

    With `unless_taken` it leaves out what a unique constraint forbids, and returns the
    others' ids. A model may have a second one that concerns few rows.
    """
    fields = {
        field.column: field
        for field in model._meta.concrete_fields
        if not field.primary_key
    }
    names = ", ".join(f'"{name}"' for name in fields)
    untaken = ""
    if unless_taken:
        untaken = f' ON CONFLICT DO NOTHING RETURNING "{unless_taken[0]}", id'
    return (
        f'INSERT INTO "{model._meta.db_table}" ({names}) '  # noqa: S608
        f"SELECT {names} FROM {_recordset(fields)}{untaken}"
    )


@functools.lru_cache(maxsize=256)
def _update_sql(model: type[Model], guard: Fields, changes: Fields) -> str:
    sets = ", ".join(f'"{field.column}" = d."{field.column}"' for field in changes)
    where = " AND ".join(
        f't."{field.column}" = d."guard_{field.column}"' for field in guard
    )
    columns = {f"guard_{field.column}": field for field in guard}
    columns |= {str(field.column): field for field in changes}
    return (
        f'UPDATE "{model._meta.db_table}" AS t SET {sets} '  # noqa: S608
        f"FROM {_recordset(columns)} WHERE {where}"
    )


def _recordset(columns: dict[Any, Field[Any, Any]]) -> str:
    """Return the JSON parameter as a table with these columns."""
    typed = ", ".join(f'"{name}" {_type(field)}' for name, field in columns.items())
    return f"json_to_recordset(%s::json) AS d ({typed})"


def _field(model: type[Model], name: str) -> Field[Any, Any]:
    meta = model._meta
    return meta.pk if name == "pk" else meta.get_field(name)  # type: ignore[return-value]


def _type(field: Field[Any, Any]) -> str:
    """Return the column's type without its length, so that no value is cut off."""
    name = field.rel_db_type(connection) if field.primary_key else None
    return (name or field.db_type(connection) or "text").partition("(")[0]


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"not a value of a column: {type(value).__name__}")

"""Inserts of rows of which some may exist already, in one statement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import IntegrityError, connection
from django.db.models import Model

from wallets.utils.database import batch_mysql
from wallets.utils.database.batch import Unique, as_json, columns_of, insert_sql

M = TypeVar("M", bound=Model)


def insert_untaken(
    model: type[Model],
    rows: Sequence[M],
    *,
    unique: str,
    within: str,
    same: Sequence[str],
) -> list[M]:
    """Insert the rows whose value of the column `unique` is new; return the other rows.

    The values are unique for each value of the column `within`, which is the same in
    all of `rows`. Call inside a transaction. The inserted instances get their ids. Values are inserted
    in the order of the column's index, so transactions with the same values cannot
    deadlock. An existing value is not an error: an error would undo the rows before it,
    and on MySQL transactions that wait for those rows would then deadlock.

    MySQL does not report which rows it inserted, so an existing row with the same value
    must differ in one of the columns `same`.

    :raises IntegrityError: a row was refused for another reason.
    """
    if not rows:
        return []
    place = _place_in_index(model._meta.get_field(unique))
    ordered = sorted(rows, key=lambda row: place(getattr(row, unique)))
    ids = _INSERTS.get(connection.vendor, _insert_and_look)(
        model, ordered, (unique, within), same
    )
    for row in rows:
        row.pk = ids.get(getattr(row, unique))
        row._state.adding = row.pk is None
    return [row for row in rows if row.pk is None]


def _insert_and_return(
    model: type[Model], rows: Sequence[Model], unique: Unique, same: Sequence[str]
) -> dict[Any, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            insert_sql(model, unless_taken=unique), [as_json(columns_of(model, rows))]
        )
        return dict(cursor.fetchall())


def _insert_alone(
    model: type[Model], rows: Sequence[Model], unique: Unique, same: Sequence[str]
) -> dict[Any, Any]:
    """Insert on SQLite, which has one writer: the values are still new."""
    model._default_manager.bulk_create(rows)
    return {getattr(row, unique[0]): row.pk for row in rows}


def _insert_and_look(
    model: type[Model], rows: Sequence[Model], unique: Unique, same: Sequence[str]
) -> dict[Any, Any]:
    # INSERT IGNORE also leaves out invalid rows, so each row is looked up.
    column, within = unique
    wanted = {getattr(row, column): row for row in rows}
    inserted = batch_mysql.insert(model, rows, unless_taken=column)
    if len(inserted) == len(rows):
        return inserted
    found = model._default_manager.filter(
        **{f"{column}__in": wanted, within: getattr(rows[0], within)}
    )
    known = {value: more for value, *more in found.values_list(column, "pk", *same)}
    if missing := wanted.keys() - known.keys():
        raise IntegrityError(f"{model.__name__}: {len(missing)} rows were not written")
    if batch_mysql.tells_what_it_inserted():
        return inserted
    return {
        value: pk
        for value, (pk, *columns) in known.items()
        if columns == [getattr(wanted[value], name) for name in same]
    }


_INSERTS = {"postgresql": _insert_and_return, "sqlite": _insert_alone}


def _place_in_index(field: Any) -> Callable[[Any], Any]:
    """Return the sort key of the column's index."""
    if connection.vendor == "mysql" and field.db_type(connection) == "uuid":
        return batch_mysql.place_of_uuid
    return lambda value: value

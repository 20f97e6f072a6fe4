"""The triggers, constraints, keys and sequences that the database must have. Reads only.

A restore may leave them out. Then only our code guards the money, and nothing else
would report it. A sequence that is behind its table gives ids that are taken, so every
new row is refused; only PostgreSQL has them. SQLite and InnoDB never give an id that is
not above the highest of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.migrations.executor import MigrationExecutor
from django.db.models import (
    BaseConstraint,
    CheckConstraint,
    Field,
    Max,
    Model,
    UniqueConstraint,
)

from wallets.models.composite_key import ForeignKeyConstraint
from wallets.utils.database import append_only, uuid_columns

Found = dict[str, dict[str, Any]]

_KINDS: dict[type[BaseConstraint], tuple[str, str]] = {
    CheckConstraint: ("check", "check constraint"),
    UniqueConstraint: ("unique", "unique constraint"),
    ForeignKeyConstraint: ("foreign_key", "foreign key"),
}


def _applications() -> list[str]:
    """Return the names of our applications that guard rows in the database."""
    others = {model._meta.app_label for model in append_only.models_of_others()}
    return ["wallets", *sorted(others)]


def is_migrated(connection: Any) -> bool:
    """Whether all our migrations are applied."""
    return not unchecked(connection)


def unchecked(connection: Any) -> str:
    """Return why the schema cannot be checked; empty: all migrations are applied.

    A migration that was interrupted on MySQL or MariaDB may have dropped a constraint.
    """
    executor = MigrationExecutor(connection)
    graph = executor.loader.graph
    leaves = [leaf for name in _applications() for leaf in graph.leaf_nodes(name)]
    missing = len(executor.migration_plan(leaves))
    return f"not checked: {missing} migrations are not applied" if missing else ""


def lost(connection: Any) -> Iterator[str]:
    """Yield what is missing or wrong: triggers, constraints, keys, types, sequences."""
    models = [
        model
        for name in _applications()
        for model in apps.get_app_config(name).get_models()
    ]
    for name in append_only.missing(connection):
        yield f"the trigger {name} is missing"
    for column in uuid_columns.native(connection, models):
        yield (
            f"the column {column.name} of {column.table} has MariaDB's type uuid,"
            " and must be char(32)"
        )
    with connection.cursor() as cursor:
        for model in models:
            table = model._meta.db_table
            found = connection.introspection.get_constraints(cursor, table)
            if connection.vendor == "sqlite":
                found |= _sqlite_keys(cursor, table)
            for name in [
                *_constraints(model, found, connection),
                *_columns(model, found),
            ]:
                yield f"the {name} on {table} is missing"
            if connection.vendor == "postgresql" and model._meta.auto_field:
                yield from _sequence_behind(cursor, model)


def _sequence_behind(cursor: Any, model: type[Model]) -> Iterator[str]:
    """Yield that the sequence of the model's ids is missing or behind."""
    table = model._meta.db_table
    # Read before the sequence, which only goes on: these ids were taken from it.
    rows = model._default_manager.using(cursor.db.alias)
    highest = rows.aggregate(highest=Max("pk"))["highest"] or 0
    cursor.execute(
        "SELECT name, coalesce(pg_sequence_last_value(name::regclass), 0)"
        " FROM pg_get_serial_sequence(%s, 'id') AS name",
        [table],
    )
    name, last = cursor.fetchone()
    if name is None:
        yield f"the sequence of {table} is missing"
    elif last < highest:
        yield (
            f"the sequence {name} is behind: the last id that it gave is {last}, and"
            f" {table} has {highest}; docs/production.md, 'Sequences that are behind',"
            " sets it"
        )


def is_possible(constraint: BaseConstraint, connection: Any) -> bool:
    """Whether the engine can have it: MySQL and MariaDB cannot have some."""
    if isinstance(constraint, ForeignKeyConstraint):
        return constraint.is_possible(connection)
    only_some = isinstance(constraint, UniqueConstraint) and constraint.condition
    return not only_some or connection.features.supports_partial_indexes


def _constraints(model: type[Model], found: Found, connection: Any) -> Iterator[str]:
    """Yield the named constraints that are missing."""
    for constraint in model._meta.constraints:
        if not is_possible(constraint, connection):
            continue
        flag, kind = _KINDS[type(constraint)]
        there = found.get(constraint.name)
        if there is not None and there[flag]:
            continue
        if isinstance(constraint, ForeignKeyConstraint):
            fields = (model._meta.get_field(name) for name in constraint.fields)
            columns = [getattr(field, "column", "") for field in fields]
            # SQLite does not report its name.
            if any(one.get("sqlite_key") == columns for one in found.values()):
                continue
        yield f"{kind} {constraint.name}"


def _columns(model: type[Model], found: Found) -> Iterator[str]:
    """Yield the missing constraints of fields: primary keys, unique, foreign keys."""
    for field in model._meta.concrete_fields:
        if field.primary_key and not _has(found, field, "primary_key"):
            yield f"primary key {field.column}"
        elif field.unique and not (
            _has(found, field, "unique") or _has(found, field, "primary_key")
        ):
            yield f"unique constraint of {field.column}"
        if getattr(field, "db_constraint", False) and not _has(
            found, field, "foreign_key"
        ):
            yield f"foreign key of {field.column}"


def _has(found: Found, field: Field[Any, Any], flag: str) -> bool:
    return any(one[flag] and one["columns"] == [field.column] for one in found.values())


def _sqlite_keys(cursor: Any, table: str) -> Found:
    """Return SQLite's foreign keys of several columns, which Django does not report."""
    keys: dict[int, list[str]] = {}
    cursor.execute(
        "SELECT * FROM pragma_foreign_key_list(%s) ORDER BY id, seq", [table]
    )
    for number, _, _, column, *_ in cursor.fetchall():
        keys.setdefault(number, []).append(column)
    no = dict.fromkeys(("check", "unique", "foreign_key", "primary_key"), False)
    return {
        f"key {number}": {**no, "columns": columns, "sqlite_key": columns}
        for number, columns in keys.items()
    }

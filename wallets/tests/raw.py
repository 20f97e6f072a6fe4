"""Writes rows by SQL, without models and services, like a bug or a manual change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import CheckConstraint, Model

Columns = dict[str, Any]


def insert(model: type[Model], columns: Columns) -> int:
    """Insert a row by SQL; the columns have the names of the model's fields."""
    names, values = prepared(model, columns)
    places = ", ".join(["%s"] * len(values))
    sql = f"INSERT INTO {model._meta.db_table} ({', '.join(names)}) VALUES ({places})"
    if connection.vendor == "postgresql":
        sql += " RETURNING id"
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        if connection.vendor == "postgresql":
            return cursor.fetchone()[0]
        return cursor.lastrowid


def a_hold(wallet: int, transaction: int, created_at: datetime) -> Columns:
    """Return a movement that breaks no rule if the transaction is the wallet's."""
    return {
        "wallet": wallet,
        "transaction": transaction,
        "attempt_number": 9,
        "kind": "hold",
        "leg": "open",
        "from_account": "wallet",
        "to_account": "in_flight",
        "amount": 5,
        "sequence": 9,
        "balance_after": 0,
        "created_at": created_at,
    }


def update(model: type[Model], pk: int, columns: Columns) -> None:
    """Change a row by SQL."""
    names, values = prepared(model, columns)
    changes = ", ".join(f"{name} = %s" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} SET {changes} WHERE id = %s", [*values, pk]
        )


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def rules_off(*models: type[Model]) -> Iterator[None]:
    """Disable the CHECKs of these tables, and all foreign keys, for the block.

    For damage by a wrong restore or a manual change. Use it in a test case that rolls
    back and does not check foreign keys at its end.
    """
    before, after = _SWITCHES[connection.vendor]
    for sql in before:
        execute(sql)
    if connection.vendor == "postgresql":
        _drop_checks(models)
    yield
    for sql in after:
        execute(sql)


# SQLite checks foreign keys only at the end of the test's own transaction.
_SWITCHES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sqlite": (
        ("PRAGMA ignore_check_constraints = ON",),
        ("PRAGMA ignore_check_constraints = OFF",),
    ),
    "mysql": (
        ("SET foreign_key_checks = 0", "SET check_constraint_checks = 0"),
        ("SET foreign_key_checks = 1", "SET check_constraint_checks = 1"),
    ),
    "postgresql": (
        ("SET CONSTRAINTS ALL IMMEDIATE", "SET session_replication_role = replica"),
        ("SET session_replication_role = DEFAULT", "SET CONSTRAINTS ALL DEFERRED"),
    ),
}


def _drop_checks(models: tuple[type[Model], ...]) -> None:
    """Drop the CHECKs, which PostgreSQL cannot disable; the rollback restores them."""
    for model in models:
        for constraint in model._meta.constraints:
            if isinstance(constraint, CheckConstraint):
                execute(
                    f"ALTER TABLE {model._meta.db_table}"
                    f" DROP CONSTRAINT IF EXISTS {constraint.name}"
                )


def prepared(model: type[Model], columns: Columns) -> tuple[list[str], list[Any]]:
    """Return the columns' quoted names, and their values for this engine."""
    quote = connection.ops.quote_name
    names, values = [], []
    for name, value in columns.items():
        field = model._meta.get_field(name)
        names.append(quote(field.column))
        values.append(field.get_db_prep_save(value, connection))
    return names, values

"""Writes rows by hand, past models and services, as a bug or a person at the prompt would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import CheckConstraint, Model

Columns = dict[str, Any]


def insert(model: type[Model], columns: Columns) -> int:
    """INSERT by hand; the columns are named as the model's fields."""
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
    """A movement that breaks no rule if the transaction is the wallet's."""
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
    """UPDATE by hand."""
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
    """The database looks at no CHECK of these tables and at no foreign key, in this block.

    For damage that a wrong restore or a hand at the prompt does. Use it in a test case
    whose transaction is rolled back, and whose foreign keys are not checked at its end.
    """
    before, after = _SWITCHES[connection.vendor]
    for sql in before:
        execute(sql)
    if connection.vendor == "postgresql":
        _drop_checks(models)
    yield
    for sql in after:
        execute(sql)


# On SQLite foreign keys are looked at when the test's own transaction ends.
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
    """PostgreSQL has no switch for them; they are back when the test is rolled back."""
    for model in models:
        for constraint in model._meta.constraints:
            if isinstance(constraint, CheckConstraint):
                execute(
                    f"ALTER TABLE {model._meta.db_table}"
                    f" DROP CONSTRAINT IF EXISTS {constraint.name}"
                )


def prepared(model: type[Model], columns: Columns) -> tuple[list[str], list[Any]]:
    """The columns' names, quoted, and the values as this engine takes them."""
    quote = connection.ops.quote_name
    names, values = [], []
    for name, value in columns.items():
        field = model._meta.get_field(name)
        names.append(quote(field.column))
        values.append(field.get_db_prep_save(value, connection))
    return names, values

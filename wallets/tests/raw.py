"""Writes rows by hand, past models and services, as a bug or a person at the prompt would."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model

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


def prepared(model: type[Model], columns: Columns) -> tuple[list[str], list[Any]]:
    """The columns' names, quoted, and the values as this engine takes them."""
    quote = connection.ops.quote_name
    names, values = [], []
    for name, value in columns.items():
        field = model._meta.get_field(name)
        names.append(quote(field.column))
        values.append(field.get_db_prep_save(value, connection))
    return names, values

"""The plans of PostgreSQL's prepared statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection


def generic_plan(text: str, values: Mapping[str, Any]) -> str:
    """Return the plan that a statement has for any values. Call in a transaction."""
    places = {name: f"${n}" for n, name in enumerate(values, start=1)}
    marks = ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE planned AS {text % places}")
        cursor.execute(f"EXPLAIN EXECUTE planned({marks})", [*values.values()])
        plan = "\n".join(row for (row,) in cursor.fetchall())
        cursor.execute("DEALLOCATE planned")
    return plan

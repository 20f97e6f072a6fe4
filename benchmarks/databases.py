"""A database of the run on each engine: created with the schema, and dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection

from drills.databases import use

_OUTSIDE = {"postgresql": "postgres", "mysql": "mysql"}


@contextmanager
def database(name: str) -> Iterator[str]:
    """Create the database with the schema, and connect this process to it."""
    _outside(name, "CREATE DATABASE")
    try:
        use(name)
        call_command("migrate", verbosity=0)
        yield name
    finally:
        _outside(name, "DROP DATABASE")


def _outside(name: str, verb: str) -> None:
    if connection.vendor in _OUTSIDE:
        use(_OUTSIDE[connection.vendor])
        force = connection.vendor == "postgresql" and verb.startswith("DROP")
        with connection.cursor() as cursor:
            cursor.execute(f"{verb} {name}{' WITH (FORCE)' if force else ''}")
    connection.close()

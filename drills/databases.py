"""A database for each concurrent process, all made from one.

Their names begin with a prefix of the caller; nothing else on a server is touched.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from django.apps import apps
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import OperationalError, connection, connections

from wallets.utils.database import append_only


def use(name: str) -> None:
    """Connect this process to the database of this name."""
    connection.close()
    connections.settings["default"]["NAME"] = name
    connection.settings_dict["NAME"] = name


class Databases:
    """`count` databases named `<prefix>_<n>`, with the schema and no rows."""

    def __init__(self, prefix: str, count: int) -> None:
        self._template = prefix
        self.names = [self._slot(prefix, n) for n in range(count)]

    @staticmethod
    def _slot(prefix: str, number: int) -> str:
        path = Path(prefix)
        if connection.vendor == "sqlite":
            return str(path.with_name(f"{path.stem}_{number}{path.suffix}"))
        return f"{prefix}_{number}"

    def create(self) -> None:
        self.drop()
        self._execute_outside(f"CREATE DATABASE {self._template}")
        use(self._template)
        call_command("migrate", "wallets", verbosity=0)
        with connection.cursor() as cursor:
            schema = self._mysql_schema(cursor)
        connection.close()
        for name in self.names:
            self._copy(name, schema)

    def _copy(self, name: str, schema: list[str]) -> None:
        if connection.vendor == "sqlite":
            shutil.copyfile(self._template, name)
            return
        if connection.vendor == "postgresql":
            self._execute_outside(f"CREATE DATABASE {name} TEMPLATE {self._template}")
            return
        self._execute_outside(f"CREATE DATABASE {name}")
        use(name)
        with connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for statement in schema:
                cursor.execute(statement)
        append_only.install(connection)
        connection.close()

    @staticmethod
    def _mysql_schema(cursor: object) -> list[str]:
        """Return the statements that create the tables, if no server can copy them."""
        if connection.vendor != "mysql":
            return []
        statements = []
        for table in connection.introspection.table_names():
            cursor.execute(f"SHOW CREATE TABLE {table}")  # type: ignore[attr-defined]
            statements.append(cursor.fetchone()[1])  # type: ignore[attr-defined]
        return statements

    def drop(self) -> None:
        for name in [*self.names, self._template]:
            if connection.vendor == "sqlite":
                for suffix in ("", "-wal", "-shm", "-journal"):
                    Path(f"{name}{suffix}").unlink(missing_ok=True)
                continue
            force = " WITH (FORCE)" if connection.vendor == "postgresql" else ""
            with suppress(OperationalError):
                self._execute_outside(f"DROP DATABASE IF EXISTS {name}{force}")

    @staticmethod
    def _execute_outside(sql: str) -> None:
        """Run a statement about databases in one that always exists."""
        if connection.vendor == "sqlite":
            return
        use("postgres" if connection.vendor == "postgresql" else "mysql")
        with connection.cursor() as cursor:
            cursor.execute(sql)
        connection.close()


def empty() -> None:
    """Delete all rows of this process's database: a small one is verified faster."""
    tables = [
        model._meta.db_table for model in apps.get_app_config("wallets").get_models()
    ]
    statements = connection.ops.sql_flush(no_style(), tables, allow_cascade=True)
    append_only.remove(connection)
    try:
        connection.ops.execute_sql_flush(statements)
    finally:
        append_only.install(connection)

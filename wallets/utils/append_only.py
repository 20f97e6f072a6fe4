"""Triggers that make tables append-only, for each engine.

UPDATE and DELETE are refused by the database itself, so that neither a bug nor a hand at
the database's prompt changes history (PostgreSQL refuses TRUNCATE too; MySQL and MariaDB
have no trigger for it, so the application's user should not have that right).
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

APPEND_ONLY_TABLES = ("wallets_movement", "wallets_transition")

_POSTGRESQL = (
    """CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger AS $$
    BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = '23001'; END
    $$ LANGUAGE plpgsql""",
    """CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_append_only()""",
    """CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()""",
)
_MYSQL = tuple(
    f"""CREATE TRIGGER {{table}}_no_{verb.lower()} BEFORE {verb} ON {{table}}
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{{table}} is append-only'"""
    for verb in ("UPDATE", "DELETE")
)
_SQLITE = tuple(
    f"""CREATE TRIGGER {{table}}_no_{verb.lower()} BEFORE {verb} ON {{table}}
    BEGIN SELECT RAISE(ABORT, '{{table}} is append-only'); END"""
    for verb in ("UPDATE", "DELETE")
)
_CREATE = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "sqlite": _SQLITE}
_DROP = {
    "postgresql": (
        "DROP TRIGGER IF EXISTS {table}_no_change ON {table}",
        "DROP TRIGGER IF EXISTS {table}_no_truncate ON {table}",
        "DROP FUNCTION IF EXISTS {table}_append_only()",
    ),
    "mysql": (
        "DROP TRIGGER IF EXISTS {table}_no_update",
        "DROP TRIGGER IF EXISTS {table}_no_delete",
    ),
    "sqlite": (
        "DROP TRIGGER IF EXISTS {table}_no_update",
        "DROP TRIGGER IF EXISTS {table}_no_delete",
    ),
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers. DDL: call it from a migration."""
    _run(connection, _CREATE[connection.vendor])


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers: to undo the migration, or to empty a test database."""
    _run(connection, _DROP[connection.vendor])


def _run(connection: BaseDatabaseWrapper, statements: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        for table in APPEND_ONLY_TABLES:
            for statement in statements:
                cursor.execute(statement.format(table=table))

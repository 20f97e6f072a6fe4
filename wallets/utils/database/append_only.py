"""Triggers that make tables append-only, for each engine.

The database itself refuses UPDATE and DELETE, so that neither a bug nor a person at the
database's prompt changes history. PostgreSQL refuses TRUNCATE, too. MySQL and MariaDB
have no such trigger, so the application's user should not have that right.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

APPEND_ONLY_TABLES = (
    "wallets_movement",
    "wallets_transition",
    "wallets_reviewproposal",
    "wallets_walletchange",
    "wallets_transfer",
    "wallets_correction",
    "wallets_paymentreturn",
)

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


def models_of_others() -> list[type[Model]]:
    """Return the append-only models of removable applications.

    They are marked by the attribute `append_only = True`.
    """
    return [one for one in apps.get_models() if getattr(one, "append_only", False)]


def all_tables() -> tuple[str, ...]:
    """Return the append-only tables, also those of removable applications."""
    others = (model._meta.db_table for model in models_of_others())
    return (*APPEND_ONLY_TABLES, *others)


def install(
    connection: BaseDatabaseWrapper, tables: Sequence[str] | None = None
) -> None:
    """Create the triggers of the tables that exist; None: of all append-only ones.

    DDL: call it from a migration. On MySQL and MariaDB an interrupted one is repeated.
    """
    if connection.vendor == "mysql":
        remove(connection, tables)
    _run(connection, _CREATE[connection.vendor], tables)


def remove(
    connection: BaseDatabaseWrapper, tables: Sequence[str] | None = None
) -> None:
    """Drop the triggers: to undo the migration, or to empty a test database."""
    _run(connection, _DROP[connection.vendor], tables)


# The existing and enabled triggers of the table %s.
_FOUND = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass"
    " AND NOT tgisinternal AND tgenabled IN ('O', 'A')",
    "mysql": "SELECT trigger_name FROM information_schema.triggers"
    " WHERE event_object_schema = DATABASE() AND event_object_table = %s",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s",
}


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the names of the triggers that are missing or disabled."""
    names = []
    with connection.cursor() as cursor:
        for table in all_tables():
            cursor.execute(_FOUND[connection.vendor], [table])
            found = {name for (name,) in cursor.fetchall()}
            for statement in _CREATE[connection.vendor]:
                words = statement.format(table=table).split()
                if words[1] == "TRIGGER" and words[2] not in found:
                    names.append(f"{words[2]} on {table}")
    return names


def _run(
    connection: BaseDatabaseWrapper,
    statements: tuple[str, ...],
    tables: Sequence[str] | None,
) -> None:
    with connection.cursor() as cursor:
        # An early migration does not have the later tables.
        there = set(connection.introspection.table_names(cursor))
        for table in all_tables() if tables is None else tables:
            for statement in statements if table in there else ():
                cursor.execute(statement.format(table=table))

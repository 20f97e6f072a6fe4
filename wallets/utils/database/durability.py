"""What a server is set to do with a COMMIT when its machine crashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The settings of the server that decide what a crash loses.
_SETTINGS = {
    "postgresql": """
        SELECT name, setting FROM pg_settings WHERE name IN
        ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')
    """,
    "mysql": """
        SHOW GLOBAL VARIABLES WHERE Variable_name IN
        ('innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog')
    """,
}
# With one of these values a crash of the machine loses no COMMIT (3 is MariaDB's).
_DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "innodb_flush_log_at_trx_commit": ("1", "3"),
    "sync_binlog": ("1",),
}


def settings_of(connection: Any) -> dict[str, str]:
    """Return the server's settings that decide what a crash loses; none for SQLite."""
    sql = _SETTINGS.get(connection.vendor)
    if sql is None:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return dict(cursor.fetchall())


def unsafe(found: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which a crash may lose commits, and their safe values.

    With a binary log InnoDB does not flush a commit again: after a crash a commit is
    rolled back that is not in the binary log, so `sync_binlog` counts as well.
    """
    has_log = found.get("log_bin", "").lower() == "on"
    return {
        name: durable[0]
        for name, durable in _DURABLE.items()
        if name in found and found[name].lower() not in durable
        # Without a binary log its setting is of no effect.
        and (name != "sync_binlog" or has_log)
    }


def leaves_standby_behind(found: Mapping[str, str]) -> bool:
    """Whether there is a synchronous standby for which our commits do not wait."""
    awaited = found.get("synchronous_standby_names", "")
    return bool(awaited) and found["synchronous_commit"] == "local"

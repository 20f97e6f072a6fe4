"""How each database engine is opened: durable, READ COMMITTED, strict.

`DATABASE_URL` wins over the specification's `DB_*` parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ

LOCK_TIMEOUT_SECONDS = 5


def database_from_env(env: environ.Env, base_dir: Path) -> dict[str, Any]:
    """Return Django's settings of the one database."""
    if env.str("DATABASE_URL", default=""):
        config = dict(env.db_url("DATABASE_URL"))
    else:
        config = {
            "ENGINE": env.str("DB_ENGINE", default="django.db.backends.sqlite3"),
            "NAME": env.str("DB_NAME", default="db.sqlite3"),
            "USER": env.str("DB_USER", default=""),
            "PASSWORD": env.str("DB_PASSWORD", default=""),
            "HOST": env.str("DB_HOST", default=""),
            "PORT": env.str("DB_PORT", default=""),
        }
    engine = config["ENGINE"]
    if engine.endswith("sqlite3"):
        return _sqlite(config, base_dir)
    # A connection is kept for a minute and tested before it is used again.
    config |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    if engine.endswith("mysql"):
        return _mysql(config)
    if engine.endswith("postgresql"):
        config["OPTIONS"] = {
            "connect_timeout": 5,
            "application_name": "wallet",
            "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s",
            # What `execute_prepared` runs is planned at its second time.
            "prepare_threshold": 1,
        } | config.get("OPTIONS", {})
    return config


def _sqlite(config: dict[str, Any], base_dir: Path) -> dict[str, Any]:
    name = Path(config["NAME"])
    path = name if name.is_absolute() else base_dir / name
    return {
        "ENGINE": config["ENGINE"],
        "NAME": str(path),
        "OPTIONS": {
            # A transaction that begins by reading and then writes would fail at once
            # with "database is locked" whatever the time-out: take the lock first.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # Without recursive triggers, REPLACE passes by the append-only triggers.
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                " PRAGMA recursive_triggers=ON;"
            ),
        },
        # Tests with threads need a file: an in-memory database is one connection's.
        "TEST": {"NAME": str(path.with_name(f"test_{path.name}"))},
    }


def _mysql(config: dict[str, Any]) -> dict[str, Any]:
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
    config["OPTIONS"] = {
        "charset": "utf8mb4",
        "isolation_level": "read committed",
        "connect_timeout": 5,
        "init_command": (
            "SET sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
            "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',"
            f" innodb_lock_wait_timeout={LOCK_TIMEOUT_SECONDS},"
            " time_zone='+00:00'"
        ),
    } | config.get("OPTIONS", {})
    return config

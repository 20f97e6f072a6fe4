"""Settings of each database: durable, READ COMMITTED, strict, with time limits.

`DATABASE_URL` takes precedence over the specification's `DB_*`.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from wallet.environment import Env

LOCK_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 5

# Django's backends with time limits that statements set.
_BACKENDS = "wallets.utils.database.backends"


def database_from_env(env: Env, base_dir: Path) -> dict[str, Any]:
    """Return Django's settings of the database."""
    if env.str("DATABASE_URL", default=""):
        with warnings.catch_warnings():
            # The warning would quote the URL, which may contain a password.
            warnings.simplefilter("ignore")
            try:
                config = dict(env.db_url("DATABASE_URL"))
            except ValueError:
                # Its message would quote a part of the password.
                raise ImproperlyConfigured(
                    "DATABASE_URL cannot be read: percent-encode the password in it."
                ) from None
        if not config.get("ENGINE"):
            raise ImproperlyConfigured(
                "DATABASE_URL names no engine that is known: write postgres://…, "
                "mysql://… or sqlite:///…"
            )
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
    seconds = env.float("DATABASE_STATEMENT_TIMEOUT", default=10)
    if engine.endswith("mysql"):
        return _mysql(config, seconds)
    if engine.endswith("postgresql"):
        return _postgresql(config, seconds)
    raise ImproperlyConfigured(
        f"The database engine {engine!r} is none of sqlite3, postgresql and mysql."
    )


def _postgresql(config: dict[str, Any], seconds: float) -> dict[str, Any]:
    defaults = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "application_name": "wallet",
        # A statement of `execute_prepared` is prepared when it is run the second time.
        "prepare_threshold": 1,
        # A peer whose packets are lost is given up after ten seconds.
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    ours = {
        # psycopg's constant for READ COMMITTED, which becomes part of each BEGIN.
        "isolation_level": 2,
        "lock_timeout": LOCK_TIMEOUT_SECONDS,
        "statement_timeout": seconds,
    }
    config["ENGINE"] = f"{_BACKENDS}.postgresql"
    config["OPTIONS"] = defaults | config.get("OPTIONS", {}) | ours
    return config


def _sqlite(config: dict[str, Any], base_dir: Path) -> dict[str, Any]:
    name = Path(config["NAME"])
    path = name if name.is_absolute() else base_dir / name
    return {
        "ENGINE": config["ENGINE"],
        "NAME": str(path),
        "OPTIONS": {
            # Take the lock at BEGIN: a transaction that reads first and then writes
            # would fail at once with "database is locked", whatever the time-out.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # Without recursive triggers REPLACE would bypass the append-only triggers.
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                " PRAGMA recursive_triggers=ON;"
            ),
        },
        # Tests with threads need a file: an in-memory database belongs to one
        # connection.
        "TEST": {"NAME": str(path.with_name(f"test_{path.name}"))},
    }


def _mysql(config: dict[str, Any], seconds: float) -> dict[str, Any]:
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        pymysql = _pymysql()

        pymysql.install_as_MySQLdb()
    defaults: dict[str, Any] = {
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    }
    if seconds:
        # Longer than the server's limit, so that the server's error comes first.
        patience = math.ceil(max(seconds, LOCK_TIMEOUT_SECONDS)) + 2
        defaults |= {"read_timeout": patience, "write_timeout": patience}
    ours = {
        "isolation_level": "read committed",
        "lock_timeout": LOCK_TIMEOUT_SECONDS,
        "statement_timeout": seconds,
    }
    config["ENGINE"] = f"{_BACKENDS}.mysql"
    config["OPTIONS"] = defaults | config.get("OPTIONS", {}) | ours
    return config


def _pymysql() -> Any:
    try:
        import pymysql
    except ImportError:
        raise ImproperlyConfigured(
            "MySQL's driver is missing: pip install -r requirements-mysql.txt"
        ) from None
    return pymysql

"""The environment of a drill: the database, and times short enough to wait for.

The times keep their order (the system check `wallets.E001` verifies it), so that
results hold for the long ones.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

SERVERS = {
    "sqlite": "",
    "postgresql": os.environ.get(
        "TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432"
    ),
    "mariadb": os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306"),
}

# In seconds. DRILL_PACE multiplies all of them, for a loaded machine.
PACE = float(os.environ.get("DRILL_PACE", "2"))
SHORT_TIMES = {
    "THIRD_PARTY_CONNECT_TIMEOUT": 0.1,
    "THIRD_PARTY_DEADLINE": 0.15,
    "WITHDRAWAL_DUE_INTERVAL": 0.02,
    "WITHDRAWAL_RETRY_INTERVAL": 0.05,
    "WITHDRAWAL_RESOLVE_INTERVAL": 0.5,
    "WITHDRAWAL_RECORDING_TIME": 0.05,
    "WITHDRAWAL_SOFT_TIME_LIMIT": 0.4,
    "WITHDRAWAL_HARD_TIME_LIMIT": 0.45,
    "WITHDRAWAL_LEASE": 0.6,
    "WITHDRAWAL_QUIET_PERIOD": 0.7,
    "WITHDRAWAL_RETRY_BASE": 0.02,
    "WITHDRAWAL_RETRY_CAP": 0.1,
    "WITHDRAWAL_CHECK_BASE": 0.02,
    "WITHDRAWAL_CHECK_CAP": 1,
    "WITHDRAWAL_POLL": 0.05,
}


def answering() -> list[str]:
    """Return the databases that can be used here: SQLite, and answering servers."""
    return [name for name, url in SERVERS.items() if not url or _answers(url)]


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), 3):
            return True
    except OSError:
        return False


def environment(database: str, folder: Path) -> dict[str, str]:
    """Return the variables of a process that drills on this database."""
    return {
        **{name: f"{PACE * seconds:g}" for name, seconds in SHORT_TIMES.items()},
        # One withdrawal after the other, so that the N-th event is always the same.
        "WITHDRAWAL_CONCURRENCY": "2",
        "DJANGO_SETTINGS_MODULE": "wallet.settings",
        "DATABASE_URL": address(database, folder),
        # No worker consumes messages here: the sweeps do all the work.
        "CELERY_BROKER_URL": "memory://",
        "LOG_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }


def address(database: str, folder: Path) -> str:
    """Return the address of a database of the drill's own."""
    if "://" in database:
        return database
    if database not in SERVERS:
        raise SystemExit(f"unknown database {database!r}; known: {', '.join(SERVERS)}")
    if not SERVERS[database]:
        return f"sqlite:///{folder}/drill.sqlite3"
    parts = urlsplit(SERVERS[database])._replace(path=f"/wallet_drill_{os.getpid()}")
    if database == "mariadb":
        # Reading the certificates takes PyMySQL longer than a whole crash point.
        parts = parts._replace(query="ssl_disabled=true")
    return urlunsplit(parts)

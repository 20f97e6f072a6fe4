"""The settings of the running `make run`, for commands in another terminal.

They are in a file that only its owner may read, and only while it runs, because they
may contain a password.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ops import VAR

FILE = VAR / "run.json"
# The variables of database, bank, broker, API and webhooks, and what is switched on.
_PREFIXES = (
    *("DATABASE_", "DB_", "THIRD_PARTY_", "CELERY_", "WITHDRAWAL", "SECRET_KEY"),
    *("API_", "WEBHOOK_"),
)
_NAMES = (
    *("ALLOWED_HOSTS", "BANK_PORT", "DEFAULT_CURRENCY", "REVIEW_TWO_PERSONS"),
    *("ADMIN_ENABLED", "CONSOLE_ENABLED", "EVENTS_ENABLED"),
)


def write(env: Mapping[str, str]) -> None:
    """Store the settings for `read`."""
    kept = {
        name: value
        for name, value in env.items()
        if name.startswith(_PREFIXES) or name in _NAMES
    }
    FILE.unlink(missing_ok=True)
    descriptor = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(kept | {"": str(os.getpid())}, file)


def forget() -> None:
    """Remove the settings: the run has ended."""
    FILE.unlink(missing_ok=True)


def read() -> dict[str, str]:
    """Return the settings of the running `make run`; none if there is none."""
    try:
        found: dict[str, str] = json.loads(FILE.read_text())
        os.kill(int(found.pop("")), 0)
    except (OSError, ValueError, KeyError):
        return {}
    return found

"""The settings of the `make run` that is running, for commands in another terminal.

Kept in a file that only its owner may read, and only while it runs: it may hold a
password.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ops import VAR

FILE = VAR / "run.json"
# What says which database, bank and broker it is, and how the service takes them.
_PREFIXES = ("DATABASE_", "DB_", "THIRD_PARTY_", "CELERY_", "WITHDRAWAL", "SECRET_KEY")
_NAMES = ("ALLOWED_HOSTS", "BANK_PORT", "REVIEW_TWO_PERSONS")


def write(env: Mapping[str, str]) -> None:
    """Keep the settings for `read`."""
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
    """The run has ended."""
    FILE.unlink(missing_ok=True)


def read() -> dict[str, str]:
    """Return the settings of the run that is alive; none if there is none."""
    try:
        found: dict[str, str] = json.loads(FILE.read_text())
        os.kill(int(found.pop("")), 0)
    except (OSError, ValueError, KeyError):
        return {}
    return found

"""What keeps the money safe, and how it is switched off in a scratch copy.

A guard is exact text of the product and what it is replaced by, with the quickest tests
that must then go red. A text that is not found any more is a failure of the table: the
guard has moved, and nobody knows any more whether a test minds its absence.
"""

from __future__ import annotations

from dataclasses import dataclass

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mariadb"


@dataclass(frozen=True)
class Guard:
    """One guard. `tests` are below wallets/tests, in pytest's words."""

    name: str
    file: str
    text: str
    without: str
    tests: str
    database: str = SQLITE

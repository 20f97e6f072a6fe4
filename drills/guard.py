"""A guard: product code that keeps money safe, and how a scratch copy switches it off.

A guard is an exact text of the product, its replacement, and the quickest tests that
must then fail. A text that is not found is an error: the code has changed, so it is not
known whether a test would notice its absence.
"""

from __future__ import annotations

from dataclasses import dataclass

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mariadb"


@dataclass(frozen=True)
class Guard:
    """One guard. `tests` are arguments of pytest, relative to wallets/tests."""

    name: str
    file: str
    text: str
    without: str
    tests: str
    database: str = SQLITE

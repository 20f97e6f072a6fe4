"""A guard: product code that keeps money safe, and how a scratch copy disables it.

A guard is an exact text of the product, its replacement, and the quickest tests that
must then fail. A text that is not found is an error: the code has changed, so nobody
knows whether a test would fail without the guard.
"""

from __future__ import annotations

from dataclasses import dataclass

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mariadb"


@dataclass(frozen=True)
class Guard:
    """One guard. `tests` are arguments of pytest.

    A file without a folder is one of wallets/tests.
    """

    name: str
    file: str
    text: str
    without: str
    tests: str
    database: str = SQLITE

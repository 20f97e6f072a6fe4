"""Marks for pytest. Under Django's own runner, which needs no pytest, they mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import pytest
except ImportError:

    def slow(test: Any) -> Any:
        return test

    def timeout(_seconds: float) -> Callable[[Any], Any]:
        return slow

    every_database = slow
else:
    slow = pytest.mark.slow
    # No database test case, but with processes that use the database of the settings.
    every_database = pytest.mark.every_database
    timeout = pytest.mark.timeout

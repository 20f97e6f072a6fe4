"""Marks of tests for Django's runner and for pytest, which need not be installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.test import tag

SLOW = "slow"

try:
    import pytest
except ImportError:

    def _unmarked(test: Any) -> Any:
        return test

    def timeout(_seconds: float) -> Callable[[Any], Any]:
        return _unmarked

    _slow = every_database = _unmarked
else:
    _slow = pytest.mark.slow
    # No database test case, but its processes use the database of the settings.
    every_database = pytest.mark.every_database
    timeout = pytest.mark.timeout


def slow(test: Any) -> Any:
    """Mark a test of 0.3 s or more; `manage.py test wallets` omits it."""
    return tag(SLOW)(_slow(test))

"""What pytest is told about the whole tree."""

from __future__ import annotations

import unittest

import pytest
from django.test import TransactionTestCase


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-only",
        action="store_true",
        help="leave out what no database can change: it was tested on another one",
    )
    parser.addoption(
        "--slow-first",
        action="store_true",
        help="begin with what is slow: then several workers end at the same time",
    )


@pytest.hookimpl(trylast=True)  # after Django's order
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out the tests that touch no database, and sort, where that is asked for."""
    if config.getoption("--slow-first"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not config.getoption("--database-only"):
        return
    others = [item for item in items if not _touches_database(item)]
    items[:] = [item for item in items if _touches_database(item)]
    config.hook.pytest_deselected(items=others)


def _touches_database(item: pytest.Item) -> bool:
    test_case = getattr(item, "cls", None) or unittest.TestCase
    marked = item.get_closest_marker("every_database") is not None
    return marked or issubclass(test_case, TransactionTestCase)

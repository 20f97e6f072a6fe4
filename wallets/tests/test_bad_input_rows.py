"""Every row of the project's table of bad inputs has a test, or a reason for none."""

from __future__ import annotations

import re
from pathlib import Path

from django.test import SimpleTestCase

from wallets.tests import test_api_bad_input as tables

LAST_ROW = 75
NOT_HERE = {
    **dict.fromkeys(range(1, 5), "there are no API keys"),
    6: "there are no callers",
    71: "of a removable application: events/tests/test_addresses.py, test_api_webhooks.py",
    72: "the bank calls nobody back",
    73: "there is no rate limit to configure",
}


class RowTest(SimpleTestCase):
    def numbers(self) -> set[int]:
        """Return the rows that docstrings of tests name, and those in their tables."""
        found = {
            int(number)
            for path in Path(__file__).parent.glob("test_*.py")
            for words in re.findall(r"\b[Rr]ows? ([\d, and]+)", path.read_text())
            for number in re.findall(r"\d+", words)
        }
        for table in (tables.AMOUNTS, tables.TIMES, tables.BODIES, tables.MEDIA_TYPES):
            found |= {row[0] for row in table}
        return found | {row[0] for row in (*tables.QUERIES, *tables.PATHS)}

    def test_has_a_test_or_a_reason(self) -> None:
        missing = set(range(1, LAST_ROW + 1)) - self.numbers() - set(NOT_HERE)
        self.assertEqual(missing, set())

    def test_with_a_reason_has_no_test_yet(self) -> None:
        self.assertEqual(self.numbers() & set(NOT_HERE), set())

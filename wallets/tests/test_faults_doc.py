"""docs/faults.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from django.test import SimpleTestCase

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`((?:[\w-]+/)*\w+\.py)(?:::(\w+)(?:\.(\w+))?)?`")


class FaultsDocTest(SimpleTestCase):
    def test_names_only_what_exists(self) -> None:
        text = (ROOT / "docs" / "faults.md").read_text()
        named = NAMED.findall(text)
        self.assertGreater(len(named), 10)
        for path, case, name in named:
            with self.subTest(path=path, case=case, name=name):
                file = ROOT / path if "/" in path else ROOT / "wallets" / "tests" / path
                self.assertTrue(file.is_file(), f"{path} is not there")
                source = file.read_text()
                if case:
                    self.assertRegex(source, rf"\n(class|def) {case}\b")
                if name:
                    self.assertIn(f"    def {name}(", source)

    def test_has_each_row_once_and_in_order(self) -> None:
        text = (ROOT / "docs" / "faults.md").read_text()
        rows = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.M)]
        self.assertEqual(rows, sorted(set(rows)))

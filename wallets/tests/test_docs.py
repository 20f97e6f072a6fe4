"""The documents are right: names, defaults and links are compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings
from django.core.management import get_commands
from django.test import SimpleTestCase

ROOT = Path(settings.BASE_DIR)


class DocumentsTest(SimpleTestCase):
    documents = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md"))

    def test_name_every_variable_that_is_read(self):
        text = (ROOT / "docs/configuration.md").read_text()
        for source in ("wallet/settings.py", "wallet/databases.py"):
            read = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / source).read_text())
            self.assertTrue(read)
            missing = [name for name in read if f"`{name}`" not in text]
            self.assertEqual(missing, [], f"add to docs/configuration.md ({source})")

    def test_name_the_defaults_that_are_true(self):
        text = (ROOT / "docs/configuration.md").read_text()
        source = (ROOT / "wallet/settings.py").read_text()
        numbers = re.findall(
            r'env\.(?:int|float)\(\s*"([A-Z_]+)",\s*default=([0-9.]+)', source
        )
        for name, default in numbers:
            with self.subTest(name):
                self.assertRegex(text, rf"`{name}` \| `{re.escape(default)}`")

    def test_link_to_files_that_exist(self):
        for document in self.documents:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
                if "://" not in target:
                    with self.subTest(document=document.name, target=target):
                        self.assertTrue((document.parent / target).exists())

    def test_name_commands_that_exist(self):
        # Also those of an application that is not installed now.
        commands = {file.stem for file in ROOT.glob("*/management/commands/*.py")}
        for document in self.documents:
            for name in re.findall(r"manage\.py ([a-z_]+)", document.read_text()):
                with self.subTest(document=document.name, command=name):
                    self.assertIn(name, commands | set(get_commands()))

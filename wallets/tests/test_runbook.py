"""The runbook has every alarm and every figure, and no others."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase, TestCase
from prometheus_client import CollectorRegistry

from wallets.models.alarm import Alarm
from wallets.services.operations import readiness
from wallets.services.operations.metrics import Figures, Totals
from wallets.tests.base import CommittingTestCase
from wallets.views.metrics import _Families

# From Debian's package `prometheus`; only its parser is used.
PROMTOOL = shutil.which("promtool")
TEXT = (Path(settings.BASE_DIR) / "docs" / "runbook.md").read_text()


class RunbookTest(SimpleTestCase):
    def test_has_a_section_for_every_alarm(self):
        for kind in Alarm.Kind.values:
            with self.subTest(kind=kind):
                self.assertIn(f"\n### {kind}\n", TEXT, "add it to docs/runbook.md")

    def test_names_only_figures_that_are_measured(self):
        nothing = Figures(Totals(), 0, 0, 0, 0.0, 0, 0, 0.0, 0, {}, {})
        registry = CollectorRegistry()
        registry.register(_Families(nothing))
        measured = {family.name for family in registry.collect()}
        measured |= {f"{name}_total" for name in measured} | {
            "wallet_http_requests_total"
        }
        named = set(re.findall(r"wallet_[a-z_]+", TEXT))
        self.assertGreater(len(named), 8)
        self.assertLessEqual(named, measured)

    @skipUnless(PROMTOOL, "promtool is not installed: the queries were not read")
    def test_has_queries_that_prometheus_reads(self):
        table = TEXT.split("\n## Figures of /metrics\n")[1].split("\n### ")[0]
        queries = re.findall(r"^\| `([^`]+)` \|", table, re.M)
        self.assertGreater(len(queries), 10)
        # YAML includes JSON, so Prometheus reads this file.
        rules = [{"alert": f"a{n}", "expr": one} for n, one in enumerate(queries)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "runbook", "rules": rules}]}, file)
            file.flush()
            done = subprocess.run(
                [PROMTOOL, "check", "rules", file.name],
                capture_output=True,
                text=True,
                timeout=60,
            )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(queries)} rules found", done.stdout)

    def test_links_to_sections_that_exist(self):
        headings = re.findall(r"^#+ (.+)$", TEXT, re.M)
        anchors = {
            re.sub(r"[^a-z0-9_ -]", "", one.lower()).replace(" ", "-")
            for one in headings
        }
        for link in re.findall(r"\]\(#([^)]+)\)", TEXT):
            with self.subTest(link=link):
                self.assertIn(link, anchors)


class ReadinessSectionTest(TestCase):
    def test_explains_every_part_of_readyz(self):
        for part in readiness.look().checks:
            with self.subTest(part=part):
                self.assertIn(f"| `{part}` |", TEXT)


class OldestTransactionTest(CommittingTestCase):
    """The query that finds who locks a wallet…"""

    def test_shows_an_open_transaction(self) -> None:
        section = TEXT.split("\n### One wallet does not answer\n")[1].split("\n### ")[0]
        queries = re.findall(r"^    SELECT [^;]+;$", section, re.M)
        names = {"postgresql": 0, "mysql": 1}
        if connection.vendor not in names:
            self.skipTest("SQLite has one writer, and no list of transactions")
        # Other tests have open transactions on this server, too.
        query = queries[names[connection.vendor]].replace(" LIMIT 10", "")
        other = connection.copy()
        self.addCleanup(other.close)
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT id FROM wallets_wallet FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute(query)
            shown = [str(row[0]) for row in cursor.fetchall()]
        self.assertIn(self.session_of(other), shown)
        other.rollback()

    def session_of(self, other: Any) -> str:
        if connection.vendor == "postgresql":
            return str(other.connection.info.backend_pid)
        return str(other.connection.thread_id())

"""The restore drill: a backup, a restore, the runbook; each withdrawal is paid once.

`make drill-restore` runs it for each kind of backup and of bank.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.test import SimpleTestCase

from drills import backups, restore
from wallets.tests import marks

ROOT = Path(__file__).resolve().parents[2]


def drill(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "drills.restore", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@marks.slow
@marks.timeout(400)
class RestoreDrillTest(SimpleTestCase):
    def assert_right(self, backup: str, bank: str) -> None:
        reason = restore.KINDS[backup].missing()
        if reason and not os.environ.get("WALLET_REQUIRE_SERVERS"):
            self.skipTest(f"{backup}: {reason}")
        done = drill("--backup", backup, "--bank", bank)
        self.assertIn("1 right, 0 wrong", done.stdout, done.stdout + done.stderr)

    def test_pays_each_once_after_the_restore_of_a_file_and_its_log(self) -> None:
        self.assert_right("sqlite", "bare")

    def test_pays_each_once_after_pg_dump(self) -> None:
        self.assert_right("pg_dump", "looks-up")

    def test_pays_each_once_after_mariadb_dump(self) -> None:
        self.assert_right("mariadb-dump", "dedupes")

    def test_pays_each_once_after_a_recovery_to_a_point_in_time(self) -> None:
        self.assert_right("point-in-time", "able")

    def test_detects_references_that_depend_on_lost_rows(self) -> None:
        done = drill(
            "--backup", "sqlite", "--bank", "dedupes", "--broken", "references"
        )
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("the bank paid 2 times", done.stdout + done.stderr)


class RecipeTest(SimpleTestCase):
    def test_is_in_the_document_for_every_kind_of_backup(self) -> None:
        for name in restore.KINDS:
            for step in ("backup", "restore"):
                self.assertTrue(backups.recipe(f"{name} {step}").strip())

"""Management commands: `wait_for_db`, and all commands without tables."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import SimpleTestCase, TestCase

from wallets.management.commands import wait_for_db
from wallets.tests import marks


class WaitForDbTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.slept: list[float] = []
        self.elapsed = 0.0
        for target, name, fake in (
            (wait_for_db.time, "sleep", self.sleep),
            (wait_for_db.clock, "elapsed", lambda: self.elapsed),
            # The connection of the test's own transaction stays open.
            (connection, "close", lambda: None),
        ):
            patch = mock.patch.object(target, name, fake)
            patch.start()
            self.addCleanup(patch.stop)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds

    def wait_for_db(self, *outcomes: Any, timeout: str = "60") -> str:
        out = io.StringIO()
        with mock.patch.object(connection, "ensure_connection", side_effect=outcomes):
            call_command("wait_for_db", "--timeout", timeout, stdout=out)
        return out.getvalue()

    def test_goes_on_at_once_when_the_database_answers(self):
        self.assertEqual(self.wait_for_db(None), "The database answers.\n")
        self.assertEqual(self.slept, [])

    def test_waits_until_it_answers(self):
        down = OperationalError("connection refused")
        self.wait_for_db(down, down, down, None)
        self.assertEqual(len(self.slept), 3)

    def test_gives_up_in_one_clear_line(self):
        down = OperationalError("connection refused\nIs the server running?\n")
        with self.assertRaises(CommandError) as got:
            self.wait_for_db(*[down] * 10, timeout="2")
        self.assertEqual(
            str(got.exception), "no database after 2 s: connection refused"
        )
        self.assertLessEqual(self.elapsed, 2.5)

    def test_answers_for_the_real_database(self):
        out = io.StringIO()
        call_command("wait_for_db", stdout=out)
        self.assertIn("answers", out.getvalue())


@marks.slow
class WithoutTablesTest(SimpleTestCase):
    """A database without migrations: every command says so in one line."""

    COMMANDS = (
        ["alarms"],
        ["cancel", "1", "--by", "oscar"],
        ["demo"],
        ["demo_login"],
        ["review"],
        ["run_sweeps", "--once"],
        ["verify_ledger"],
    )

    def test_is_told_to_migrate(self):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/empty.sqlite3"
            for command in self.COMMANDS:
                with self.subTest(command=command):
                    done = subprocess.run(
                        [sys.executable, "manage.py", *command],
                        cwd=settings.BASE_DIR,
                        env=os.environ | {"DATABASE_URL": url},
                        capture_output=True,
                        text=True,
                    )
                    self.assertEqual(done.returncode, 1, done.stderr)
                    last = done.stderr.splitlines()[-1]
                    self.assertIn("run `manage.py migrate` first", last)
                    self.assertNotIn("Traceback", done.stderr)

"""The documented commands of worker and Beat write JSON, from the first line on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading

from django.conf import settings
from django.test import SimpleTestCase

from wallets.tests import marks

# Celery prints this in a signal handler, without logging, also with `--quiet`.
GOODBYE = "worker: Warm shutdown (MainProcess)"
PATIENCE = 60


@marks.slow
class DocumentedCommandTest(SimpleTestCase):
    def lines(self, role: str, until: str, **env: str) -> list[str]:
        """Return all lines that the documented command prints."""
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "wallet", role, "-l", "info"],
                cwd=settings.BASE_DIR,
                env=os.environ
                | {
                    "CELERY_BROKER_URL": "memory://",
                    "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
                    "PYTHONUNBUFFERED": "1",
                    "SECRET_KEY": "of-this-test",
                }
                | env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            watchdog = threading.Timer(PATIENCE, process.kill)
            watchdog.start()
            found = []
            with process:
                for line in process.stdout:
                    found.append(line.rstrip("\n"))
                    if until in line:
                        process.terminate()
            watchdog.cancel()
        self.assertTrue(any(until in line for line in found), found)
        return [line for line in found if line and line != GOODBYE]

    def test_of_a_worker_writes_json(self):
        for line in self.lines("worker", " ready."):
            self.assertIn("event", json.loads(line), line)

    def test_of_beat_writes_json(self):
        for line in self.lines("beat", "beat: Starting"):
            self.assertIn("event", json.loads(line), line)

    def test_greets_a_person(self):
        said = self.lines("beat", "beat: Starting", LOG_FORMAT="console")
        self.assertIn("is starting.", said[0])

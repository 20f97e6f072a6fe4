"""A file shows that Beat's loop runs, for a container's health check."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from unittest import mock

from django.conf import settings
from django.test import SimpleTestCase

from wallet.celery import app
from wallets.utils.messaging import beat_alive
from wallets.utils.messaging.beat import PublishingScheduler


class BeatAliveTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        here = mock.patch.object(tempfile, "tempdir", folder.name)
        here.start()
        self.addCleanup(here.stop)

    def asked(self) -> int:
        """Return the exit code of the health check, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "wallets.utils.messaging.beat_alive"],
            cwd=settings.BASE_DIR,
            env=os.environ | {"TMPDIR": self.folder},
        ).returncode

    def test_is_shown_by_each_turn_of_the_loop(self):
        self.assertEqual(self.asked(), 1)
        scheduler = PublishingScheduler(app=app, schedule={}, lazy=True)
        scheduler.tick()
        self.assertEqual(self.asked(), 0)

    def test_is_denied_once_the_loop_stops(self):
        beat_alive.mark()
        past = os.stat(beat_alive.path()).st_mtime - beat_alive.SILENT_SECONDS - 1
        os.utime(beat_alive.path(), (past, past))
        self.assertEqual(self.asked(), 1)
        beat_alive.mark()
        self.assertEqual(self.asked(), 0)

    def test_stops_no_tick_where_no_file_can_be_written(self):
        with mock.patch.object(tempfile, "tempdir", f"{self.folder}/nowhere"):
            beat_alive.mark()
            self.assertFalse(beat_alive.is_alive())

    def test_follows_no_symbolic_link(self):
        target = f"{self.folder}/target"
        os.symlink(target, beat_alive.path())
        beat_alive.mark()
        self.assertFalse(os.path.exists(target))

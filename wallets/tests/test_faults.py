"""A sample of the crash sweep: real processes are killed, frozen and interrupted.

`make crash-sweep` is the whole sweep. The sample runs on the engine of the suite, in
its own databases on the same server.
"""

import os
import subprocess
import sys
from pathlib import Path
from unittest import skipUnless
from urllib.parse import quote

from django.db import connection
from django.test import SimpleTestCase

from drills import clock_shim
from wallets.tests import marks

ROOT = Path(__file__).resolve().parents[2]
WITHIN_SECONDS = 280
# The first engine has the larger sample: most events are the same on each.
FIRST = connection.vendor == "sqlite"


@marks.every_database
@marks.slow
@marks.timeout(300)
class CrashSweepTest(SimpleTestCase):
    def test_ends_well_wherever_a_process_is_killed(self):
        self.assert_ends_well(
            *("--action", "kill", "--sample", "4" if FIRST else "2"),
            *(
                "--fault",
                "normal",
                "--fault",
                "accept_close",
                "--fault",
                "late_booking",
            ),
            points=40 if FIRST else 20,
        )

    def test_ends_well_with_lost_commits_soft_limits_and_frozen_senders(self):
        self.assert_ends_well(
            *("--action", "error", "--action", "soft-limit", "--action", "freeze"),
            *("--fault", "accept_close", "--bank", "able", "--bank", "bare"),
            *("--sample", "5" if FIRST else "3"),
            points=25 if FIRST else 14,
        )

    def test_ends_well_when_the_clock_steps_as_a_process_dies(self):
        if reason := clock_shim.missing():
            self.skipTest(reason)
        self.assert_ends_well(
            *("--action", "step-forward", "--action", "step-back"),
            *("--sample", "4" if FIRST else "2"),
            *("--fault", "late_booking", "--bank", "looks-up", "--bank", "able"),
            points=12 if FIRST else 6,
        )

    def test_ends_well_in_the_story_of_wallets(self):
        self.assert_ends_well(
            *("--story", "wallets", "--action", "kill", "--action", "error"),
            *("--fault", "normal", "--bank", "able", "--sample", "8"),
            points=14,
        )

    @skipUnless(FIRST, "of the drill, not of the engine: shown on SQLite")
    def test_detects_a_service_that_refunds_unknown_outcomes(self):
        done = self.sweep(
            *("--action", "kill", "--sample", "3", "--broken", "refund-on-unknown"),
            *("--fault", "accept_close", "--bank", "able"),
        )
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("paid 2 times", done.stdout)

    @skipUnless(FIRST, "of the drill, not of the engine: shown on SQLite")
    def test_finds_out_a_service_that_retries_what_was_cancelled(self):
        done = self.sweep(
            *("--action", "kill", "--limit", "1", "--broken", "retry-cancelled"),
            *("--fault", "refuse", "--bank", "able"),
        )
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("its cancellation was confirmed", done.stdout)

    def assert_ends_well(self, *arguments, points):
        done = self.sweep(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout)
        struck = int(done.stdout.splitlines()[-1].split()[-2])
        self.assertGreaterEqual(struck, points, done.stdout)

    def sweep(self, *arguments):
        command = [sys.executable, "-m", "drills.crash_sweep", "--slots", "6"]
        if "--story" not in arguments:
            command += ["--story", "payouts"]
        return subprocess.run(
            [*command, "--database", address_of_our_own(), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WITHIN_SECONDS,
        )


def address_of_our_own() -> str:
    """Return the address of databases, on the suite's server, for this process only."""
    if connection.vendor == "sqlite":
        return "sqlite"
    its = connection.settings_dict
    schemes = {"postgresql": "postgres", "mysql": "mysql"}
    user, password = quote(its["USER"]), quote(its["PASSWORD"])
    name = f"{its['NAME']}_crash_{os.getpid()}"
    query = "?ssl_disabled=true" if connection.vendor == "mysql" else ""
    host = f"{its['HOST'] or '127.0.0.1'}:{its['PORT']}".rstrip(":")
    return f"{schemes[connection.vendor]}://{user}:{password}@{host}/{name}{query}"

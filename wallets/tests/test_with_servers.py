"""A command that runs with database servers of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import SkipTest, TestCase

from drills import servers, with_servers
from wallets.tests import marks

ASK = """
import os
import psycopg, pymysql
from urllib.parse import urlsplit
ours = urlsplit(os.environ["TEST_MARIADB_URL"])
pymysql.connect(host=ours.hostname, port=ours.port, user=ours.username).ping()
with psycopg.connect(os.environ["TEST_POSTGRES_URL"]) as connection:
    connection.execute("SELECT 1")
    {then}
"""


@marks.slow
class WithServersTest(TestCase):
    def setUp(self) -> None:
        for kind in with_servers.VARIABLES:
            if why := servers.missing(kind):
                raise SkipTest(why)

    def test_runs_a_command_that_finds_them(self) -> None:
        done = self.run_with_servers("raise SystemExit(7)")
        self.assertEqual(done.returncode, 7, done.stdout + done.stderr)

    def test_fails_and_shows_the_log_when_one_ended_meanwhile(self) -> None:
        done = self.run_with_servers(
            "import signal; pid = connection.execute("
            "\"SELECT pg_read_file('postmaster.pid')\").fetchone()[0].split()[0];"
            "os.kill(int(pid), signal.SIGINT); import time; time.sleep(2)"
        )
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("postgresql ended during the run", done.stdout)
        self.assertIn("fast shutdown request", done.stdout)

    def run_with_servers(self, then: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", ASK.format(then=then)]
        return subprocess.run(
            [sys.executable, "-m", "drills.with_servers", *program],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=120,
        )

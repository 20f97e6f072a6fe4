"""EVENTS_ENABLED=false: the service without the feed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from django.test import SimpleTestCase

from wallets.tests import marks

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import django; django.setup()
from django.core.management import call_command
from django.db import connection
from django.test import Client
call_command("migrate", verbosity=0)
call_command("makemigrations", "--check", "--dry-run", verbosity=0)
tables = connection.introspection.table_names()
print("tables", [name for name in tables if name.startswith("events_")])
client = Client(headers={"host": "localhost"})
wallet = client.post("/wallets/", "", "application/json").json()["uuid"]
path = f"/wallets/{wallet}/deposit"
print("deposit", client.post(path, {"amount": 5}, "application/json").status_code)
print("events", client.get("/events/").status_code)
print("checks", "events" in client.get("/readyz").json()["checks"])
schema = client.get("/api/schema/").content
print("documented", b"/events/" in schema)
call_command("verify_ledger", verbosity=0)
"""


@marks.slow
class SwitchTest(SimpleTestCase):
    def run_with(self, switch: str) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "DJANGO_SETTINGS_MODULE": "wallet.settings",
                    "DB_NAME": f"{folder}/db.sqlite3",
                    "SECRET_KEY": "of this test",
                    "CELERY_BROKER_URL": "memory://",
                    "EVENTS_ENABLED": switch,
                },
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()[:5]

    def test_off_leaves_no_table_no_path_and_no_check(self) -> None:
        self.assertEqual(
            self.run_with("false"),
            [
                *("tables []", "deposit 200", "events 404", "checks False"),
                "documented False",
            ],
        )

    def test_on_has_them(self) -> None:
        names = ["block", "cursor", "delivery", "endpoint", "event", "gap"]
        tables = f"tables {[f'events_{name}' for name in names]}"
        self.assertEqual(
            self.run_with("true"),
            [tables, "deposit 200", "events 200", "checks True", "documented True"],
        )

"""API_AUTH: the service with keys, and without them."""

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
call_command("check", databases=["default"])
tables = connection.introspection.table_names()
print("tables", [name for name in tables if name.startswith("access_")])
client = Client(headers={"host": "localhost"})
print("wallets", client.get("/wallets/").status_code)
print("checks", "keys" in client.get("/readyz").json()["checks"])
schema = client.get("/api/schema/").json()
schemes = schema["components"].get("securitySchemes")
print("security", schema["security"], schemes and schemes["key"]["scheme"])
print("open", schema["paths"]["/healthz"]["get"].get("security"))
print("problems", client.get("/problems/unauthenticated").status_code)
answers = schema["paths"]["/deposits/"]["post"]["responses"]
print("answers", [code for code in ("401", "403", "429") if code in answers])
from pathlib import Path
from wallets.views.schema.files import problems_markdown
committed = Path("docs/problems.md").read_text(encoding="utf-8")
print("page of problems", committed == problems_markdown())
"""


@marks.slow
class SwitchTest(SimpleTestCase):
    def run_with(self, **variables: str) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run(
                [sys.executable, "-c", SCRIPT],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "DJANGO_SETTINGS_MODULE": "wallet.settings",
                    "DB_NAME": f"{folder}/db.sqlite3",
                    "SECRET_KEY": "of this test",
                    "CELERY_BROKER_URL": "memory://",
                    **variables,
                },
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )

    def told(self, **variables: str) -> list[str]:
        done = self.run_with(**variables)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line for line in done.stdout.splitlines() if "No changes" not in line][
            -8:
        ]

    def test_off_leaves_no_table_no_check_and_no_trace_in_the_document(self) -> None:
        off = [
            *("tables []", "wallets 200", "checks False"),
            *("security [] None", "open None", "problems 404", "answers []"),
            "page of problems True",
        ]
        self.assertEqual(self.told(), off)
        self.assertEqual(self.told(API_AUTH="none"), off)

    def test_on_asks_for_a_key_with_events_and_without(self) -> None:
        on = [
            "tables ['access_apikey', 'access_keyevent']",
            *("wallets 401", "checks True", "security [{'key': []}] bearer"),
            *("open []", "problems 200", "answers ['401', '403', '429']"),
        ]
        self.assertEqual(self.told(API_AUTH="keys"), [*on, "page of problems True"])
        without_events = self.told(API_AUTH="keys", EVENTS_ENABLED="false")
        self.assertEqual(without_events[:-1], on)

    def test_to_anything_else_is_refused_at_the_start(self) -> None:
        for value in ("key", "KEYS", "on", ""):
            done = self.run_with(API_AUTH=value)
            with self.subTest(value):
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("API_AUTH must be none (", done.stderr)

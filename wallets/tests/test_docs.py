"""The documents say what is: the README's walk is run, names and links are looked up."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from unittest import mock, skipUnless

from django.conf import settings
from django.core.management import call_command, get_commands
from django.test import LiveServerTestCase, SimpleTestCase, override_settings

from wallets.services import reconciliation
from wallets.services.drain import Drain, find_due
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.utils.bank import Abilities
from wallets.utils.db import database_now
from wallets.utils.third_party import HttpBank

ROOT = Path(settings.BASE_DIR)
PATIENCE = 60  # for a busy machine
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
API, BANK = "http://127.0.0.1:8000", "http://127.0.0.1:8010"


def console_sessions(path: Path) -> list[tuple[str, str]]:
    """The commands of the file's console blocks, each with its recorded answer."""
    sessions = []
    for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, answer = part.partition("\n")
            sessions.append((command, answer.strip()))
    return sessions


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start_simulator(test: LiveServerTestCase, port: int) -> None:
    """Run the bank simulator until the test ends."""
    data = tempfile.TemporaryDirectory()
    test.addCleanup(data.cleanup)
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT / "third-party",
        env=os.environ
        | {
            "BANK_PORT": str(port),
            "BANK_DATA": f"{data.name}/bank.sqlite3",
            "BANK_FAILURE_RATE": "0",
        },
        stderr=subprocess.DEVNULL,
    )
    test.addCleanup(process.wait, 10)
    test.addCleanup(process.terminate)
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the simulator did not start")


CURL = subprocess.run(["which", "curl"], capture_output=True, check=False).returncode


@skipUnless(CURL == 0, "curl is not installed: the README's walk was not run")
@marks.slow
class ReadmeWalkTest(CommittingTestCase, LiveServerTestCase):
    """README.md, section "A walk": each command, its answer compared with the record."""

    def setUp(self):
        super().setUp()
        self.bank_port = free_port()
        start_simulator(self, self.bank_port)
        # From what the record says to what is here; filled by the answers.
        self.known: dict[str, str] = {
            API: self.live_server_url,
            BANK: f"http://127.0.0.1:{self.bank_port}",
        }

    def test_says_what_happens(self):
        sessions = console_sessions(ROOT / "README.md")
        self.assertGreater(len(sessions), 6)
        for command, recorded in sessions:
            with self.subTest(command):
                self.assert_same(self.run_command(command), recorded)

    def run_command(self, command: str) -> str:
        if "scheduled_for" in command:
            soon = datetime.now(timezone.utc) + timedelta(seconds=PATIENCE)
            command = INSTANT.sub(soon.strftime("%Y-%m-%dT%H:%M:%SZ"), command)
        for recorded, here in self.known.items():
            command = command.replace(recorded, here)
        if command.startswith("python manage.py"):
            out = StringIO()
            with override_settings(THIRD_PARTY_BASE_URL=self.known[BANK]):
                call_command(command.split()[2], stdout=out)
            return out.getvalue().strip()
        done = subprocess.run(
            shlex.split(command),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        if "scheduled_for" in command:
            self.pay_when_due()
        return done.stdout.strip()

    def pay_when_due(self) -> None:
        bank = HttpBank(
            self.known[BANK],
            abilities=Abilities(),
            deadline=PATIENCE,
            connect_timeout=PATIENCE,
            connections=1,
        )

        def later() -> datetime:
            return database_now() + timedelta(seconds=PATIENCE)

        Drain(find_due, bank=bank, seconds=PATIENCE, now=later).run()
        # What was paid before its time is dated ahead, here only.
        ahead = timedelta(seconds=2 * PATIENCE)
        tolerant = mock.patch.object(reconciliation, "TOLERATED", ahead)
        tolerant.start()
        self.addCleanup(tolerant.stop)

    def assert_same(self, here: str, recorded: str) -> None:
        """Equal, but for times, and for identities that must be new but consistent."""
        for old, new in zip(UUID.findall(recorded), UUID.findall(here), strict=True):
            self.known.setdefault(old, new)
        old_ids, new_ids = (
            re.findall(r'^{"id":(\d+)', text) for text in (recorded, here)
        )
        for old, new in zip(old_ids, new_ids, strict=True):
            self.known.setdefault(f"/transactions/{old}/", f"/transactions/{new}/")
        self.assertEqual(self.normal(here), self.normal(recorded))

    def normal(self, text: str) -> object:
        for recorded, here in self.known.items():
            text = text.replace(here, recorded)
        text = INSTANT.sub("<instant>", text)
        # The cast of every test has wallets and transactions of its own.
        text = re.sub(r"right: \d+ wallets", "right: <n> wallets", text)
        if not text.startswith(("{", "[")):
            return text
        value = json.loads(text)
        if isinstance(value, dict) and "detail" not in value:
            for part in (value, value.get("transaction", {})):
                self.assertIsInstance(part.pop("id", 1), int)
        return value


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
        for document in self.documents:
            for name in re.findall(r"manage\.py ([a-z_]+)", document.read_text()):
                with self.subTest(document=document.name, command=name):
                    self.assertIn(name, get_commands())

"""README.md, as a new user reads it: each block of the walk as it stands, twice."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from test_run import RunTestCase

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
PATIENCE = 120  # for a busy machine
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def section(title: str) -> str:
    """The text under a heading."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str]]:
    """Each block of commands with the answer that stands below it, or with none."""
    found = re.findall(r"```(bash|json|text)\n(.*?)```", text, re.S)
    pairs: list[tuple[str, str]] = []
    for kind, body in found:
        if kind == "bash":
            pairs.append((body, ""))
        else:
            pairs[-1] = (pairs[-1][0], body.strip())
    return pairs


class Normal:
    """Answers without what is new each time; the same id is the same name everywhere."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        text = UUID.sub(self._name, text)
        text = INSTANT.sub("<instant>", text)
        text = re.sub(r'"id":\d+', '"id":<id>', text)
        # Said as soon as a payment is old enough to be missed.
        text = re.sub(
            r"Payments of the books from .* must be on the list\.\n", "", text
        )
        text = re.sub(r"(right|agree): \d+ ", r"\1: <n> ", text)
        return text.strip()

    def _name(self, match: re.Match[str]) -> str:
        return self._names.setdefault(match[0], f"<uuid {len(self._names) + 1}>")


class Shell:
    """One terminal: variables stay from block to block."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env

    def paste(self, block: str) -> str:
        """Run a block; return what it prints, and what went wrong besides."""
        mark = "what the block says:"
        script = f"{self._replayed()}\necho '{mark}'\n{block}\ndeclare -p >{self._kept}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.stdout.partition(mark)[2].strip() + done.stderr.strip()

    @property
    def _kept(self) -> str:
        return self._env["WALLET_VAR"] + "/shell"

    def _replayed(self) -> str:
        """Take up the variables that earlier blocks have set."""
        return f"[ -e {self._kept} ] && source {self._kept} 2>/dev/null || true"


@pytest.mark.slow
@pytest.mark.timeout(600)
class WalkTest(RunTestCase):
    def test_works_as_it_stands_twice(self) -> None:
        process = self.start()
        # As the user: a shell that knows nothing of the run but its ports.
        known = ("HOME", "PATH", "PORT", "BANK_PORT", "WALLET_VAR")
        shell = Shell({name: self.env[name] for name in known})
        walk = blocks(section("A walk"))
        self.assertGreater(len(walk), 7)
        for time in ("first", "second"):
            here, recorded = Normal(), Normal()
            for block, answer in walk:
                with self.subTest(time, block=block):
                    self.assertEqual(here(shell.paste(block)), recorded(answer))
        settings = self.folder / "var" / "run.json"
        self.assertEqual(settings.stat().st_mode & 0o777, 0o600)
        process.send_signal(signal.SIGINT)
        self.assert_gone(30)
        self.assertFalse(settings.exists())


@pytest.mark.slow
@pytest.mark.timeout(1200)
class DemoTest(RunTestCase):
    def test_is_made_once_and_every_check_of_it_is_clean(self) -> None:
        del self.env["DB_NAME"], self.env["BANK_DATA"]
        for filled in (False, True):
            process = self.make_run(target="demo")
            self.wait_for(lambda: "A walk to copy" in self.output.read_text(), 600)
            said = self.output.read_text()
            self.assertEqual("transactions already" in said, filled)
            self.assertNotIn("No simulator", said)
            for command in ("verify_ledger", "reconcile_bank", "check"):
                self.assert_clean(command)
            process.send_signal(signal.SIGINT)
            self.assert_gone(30)

    def assert_clean(self, command: str) -> None:
        known = ("HOME", "PATH", "WALLET_VAR")
        done = subprocess.run(
            ["scripts/manage", command],
            cwd=ROOT,
            env={name: self.env[name] for name in known},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        if command == "reconcile_bank":
            self.assertRegex(done.stdout, r"agree: [1-9]\d\d+ payments")

"""The commands in README.md work for a new user: each block, unchanged, twice."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import IO
from unittest import mock

import pytest

from ops import broker
from test_run import RunTestCase

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
PATIENCE = 120  # for a busy machine
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RUNS = re.compile("^```(bash|python)$", re.M)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def section(title: str) -> str:
    """Return the text under a heading."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str]]:
    """Return each block of commands with the answer below it; "" if there is none."""
    found = re.findall(r"```(bash|json|text)\n(.*?)```", text, re.S)
    pairs: list[tuple[str, str]] = []
    for kind, body in found:
        if kind == "bash":
            pairs.append((body, ""))
        else:
            pairs[-1] = (pairs[-1][0], body.strip())
    return pairs


# The sections whose blocks are pasted below, and why those of others are not.
PASTED = ("A walk", "Without make", "From Python")
STARTED = {
    "Two commands": "test_run.py starts `make run`; `make test` runs this file",
    "For operators": "DemoTest starts `make demo`",
}


class BlocksTest(unittest.TestCase):
    def test_are_each_pasted_or_started(self) -> None:
        parts = TEXT.split("\n## ")
        found = [part.partition("\n")[0] for part in parts if RUNS.search(part)]
        self.assertEqual(sorted(found), sorted([*PASTED, *STARTED]))
        kinds = set(re.findall(r"^```(\w*)$", TEXT, re.M)) - {""}
        self.assertEqual(kinds, {"bash", "python", "json", "text"})


class Normal:
    """Replaces what differs between runs; the same id always gets the same name."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        text = UUID.sub(self._name, text)
        text = INSTANT.sub("<instant>", text)
        text = re.sub(r'"id":\d+', '"id":<id>', text)
        # This line appears only when a payment is so old that it must be on the list.
        text = re.sub(
            r"Payments of the books from .* must be on the list\.\n", "", text
        )
        text = re.sub(r"(right|agree): \d+ ", r"\1: <n> ", text)
        return text.strip()

    def _name(self, match: re.Match[str]) -> str:
        return self._names.setdefault(match[0], f"<uuid {len(self._names) + 1}>")


class Shell:
    """One terminal: the file `kept` keeps variables and functions from block to block.

    `enter` is a prefix of every command that runs it in another network.
    """

    def __init__(
        self,
        env: dict[str, str],
        kept: Path,
        *,
        cwd: Path = ROOT,
        enter: tuple[str, ...] = (),
    ) -> None:
        self._env = env
        self._kept = kept
        self._cwd = cwd
        self._enter = enter

    def paste(self, block: str, *, seconds: float = PATIENCE) -> str:
        """Run a block; return its output and its errors."""
        mark = "what the block says:"
        script = f"{self._replayed()}\necho '{mark}'\n{block}\n{{ declare -p; declare -f; }} >{self._kept}"
        done = subprocess.run(
            [*self._enter, "bash", "-c", script],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        return done.stdout.partition(mark)[2].strip() + done.stderr.strip()

    def open(self, command: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command that does not end, in a terminal of its own."""
        return subprocess.Popen(
            [*self._enter, "bash", "-c", f"{self._replayed()}\n{command}"],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # As in a terminal; a shell's background jobs and their children ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def _replayed(self) -> str:
        """Return a command that restores the variables of earlier blocks."""
        return f"[ -e {self._kept} ] && source {self._kept} 2>/dev/null || true"


@pytest.mark.slow
@pytest.mark.timeout(600)
class WalkTest(RunTestCase):
    def test_works_unchanged_twice(self) -> None:
        process = self.start()
        # Like the user's shell, it knows only the ports of the run.
        known = ("HOME", "PATH", "PORT", "BANK_PORT", "WALLET_VAR")
        env = {name: self.env[name] for name in known}
        shell = Shell(env, self.folder / "var" / "shell")
        walk = blocks(section("A walk"))
        self.assertGreater(len(walk), 7)
        for time in ("first", "second"):
            here, recorded = Normal(), Normal()
            for block, answer in walk:
                with self.subTest(time, block=block):
                    self.assertEqual(here(shell.paste(block)), recorded(answer))
            self.assert_python_works(shell)
        settings = self.folder / "var" / "run.json"
        self.assertEqual(settings.stat().st_mode & 0o777, 0o600)
        process.send_signal(signal.SIGINT)
        self.assert_gone(30)
        self.assertFalse(settings.exists())

    def assert_python_works(self, shell: Shell) -> None:
        """The block of Python, in the shell that the README names."""
        text = section("From Python")
        self.assertIn("`scripts/manage shell`", text)
        (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
        block += 'wallet.refresh_from_db()\nprint("balance", wallet.balance)\n'
        said = shell.paste(f"scripts/manage shell <<'END'\n{block}END")
        self.assertEqual(said.splitlines()[-1:], ["balance 10000"], said)


@pytest.mark.slow
@pytest.mark.timeout(1800)
class WithoutMakeTest(unittest.TestCase):
    """The commands without make, in a fresh clone, on a loopback of its own…"""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.clone = self.folder / "clone"
        _copy_tracked_files(self.clone)
        path = os.environ["PATH"].split(":")
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name in ("HOME", "USER") or name.startswith(("PIP_", "SSL_"))
        } | {"PATH": ":".join(one for one in path if not one.startswith(str(ROOT)))}
        self.enter = self._network()
        self.log = (self.folder / "log").open("w+b")
        self.addCleanup(self.log.close)

    def _network(self) -> tuple[str, ...]:
        """Create a separate loopback; return the prefix of commands that use it."""
        holder = subprocess.Popen(
            ["unshare", "-rn", "sh", "-c", "ip link set lo up && echo up && read _"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(holder.communicate)
        assert holder.stdout is not None
        if holder.stdout.readline() != b"up\n":
            self.skipTest("this machine does not allow a separate network")
        target = ("--target", str(holder.pid), "--user", "--net")
        return ("nsenter", *target, "--preserve-credentials")

    def shell(self, *enter: str) -> Shell:
        return Shell(self.env, self.folder / "shell", cwd=self.clone, enter=enter)

    def run_beside(self, command: str) -> Callable[[], None]:
        """Start it in another terminal; return a function that presses Ctrl-C there."""
        process = self.shell(*self.enter).open(command, self.log)
        return functools.partial(_press_ctrl_c, process)

    def said(self) -> str:
        return (self.folder / "log").read_text()[-5000:]

    def test_works_unchanged_twice(self) -> None:
        install, programs, tests = [
            block for block, _ in blocks(section("Without make"))
        ]
        with mock.patch.object(broker, "VAR", self.folder):
            redis, _ = broker.command(6379)
        # The README names Redis as a requirement.
        self.addCleanup(self.run_beside(shlex.join(redis)))
        for time in ("first", "second"):
            with self.subTest(time), contextlib.ExitStack() as until:
                self.shell().paste(install, seconds=900)
                for line in programs.splitlines():
                    until.callback(
                        self.run_beside(f"source .venv/bin/activate\n{line}")
                    )
                self.assert_walks()
        self.assert_tests_are_green(tests)

    def assert_walks(self) -> None:
        """Run the beginning of the walk: a deposit, a withdrawal, its payment."""
        here, recorded, shell = Normal(), Normal(), self.shell(*self.enter)
        for port in (8000, 8010):
            up = f"http://127.0.0.1:{port}/healthz"
            shell.paste(f"until curl -s {up} -o /dev/null; do sleep 0.2; done")
        for block, answer in blocks(section("A walk"))[:5]:
            self.assertEqual(here(shell.paste(block)), recorded(answer), self.said())

    def assert_tests_are_green(self, block: str) -> None:
        """Run the named tests. Continuous integration runs the line of all tests."""
        lines = block.splitlines()
        self.assertEqual(lines.pop(0), "python manage.py test wallets -v2")
        for line in lines:
            said = self.shell().paste(f"source .venv/bin/activate\n{line}")
            self.assertRegex(said, r"\nOK\b", line)


def _copy_tracked_files(to: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    for name in listed.stdout.decode().split("\0")[:-1]:
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)


def _press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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

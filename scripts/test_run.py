"""`make run`: a clean start, a payment, a clean end, a second start, refusals."""

from __future__ import annotations

import datetime
import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
MARK = "WALLET_TEST_RUN"
PATIENCE = 120  # for a busy machine
PROGRESS = ("making .venv", "installing ", "installed in ")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes(mark: str, folder: Path) -> dict[int, str]:
    """Return all running processes with our variable or in our folder."""
    found = {}
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            # The broker's title overwrites its environment; its folder identifies it.
            if wanted in environment or (entry / "cwd").readlink().is_relative_to(
                folder
            ):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
    return {pid: command for pid, command in found.items() if command}


class RunTestCase(unittest.TestCase):
    """Starts `make run` with its own ports and data."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.mark = uuid.uuid4().hex
        self.port, self.bank_port = free_port(), free_port()
        self.env = {
            "HOME": os.environ.get("HOME", "/"),
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "BANK_PORT": str(self.bank_port),
            "BANK_DATA": str(self.folder / "bank.sqlite3"),
            "BANK_FAILURE_RATE": "0",
            "DB_NAME": str(self.folder / "db.sqlite3"),
            "THIRD_PARTY_DEADLINE": "7",
            "WALLET_VAR": str(self.folder / "var"),
            MARK: self.mark,
        }
        self.addCleanup(self.kill_what_is_left)

    def processes(self) -> dict[int, str]:
        return processes(self.mark, self.folder)

    def kill_what_is_left(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def make_run(
        self, checkout: Path = ROOT, target: str = "run"
    ) -> subprocess.Popen[bytes]:
        """Start it as a terminal does: in a process group of its own."""
        self.output = self.folder / "output"
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                ["make", target],
                cwd=checkout,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's background jobs, and their children, ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def start(self) -> subprocess.Popen[bytes]:
        process = self.make_run()
        self.wait_for(lambda: "A walk to copy" in self.output.read_text(), PATIENCE)
        return process

    def wait_for(self, condition: Callable[[], object], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail(f"not within {seconds} s; output:\n{self.output.read_text()}")
            time.sleep(0.1)

    def ask(self, method: str, url: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            url,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        """Whether the API answers, which is some time after its process has started."""
        try:
            self.api("GET", "/healthz")
        except OSError:
            return False
        return True

    def api(self, method: str, path: str, body: Any = None) -> Any:
        return self.ask(method, f"http://127.0.0.1:{self.port}{path}", body)

    def bank(self, method: str, path: str, body: Any = None) -> Any:
        return self.ask(method, f"http://127.0.0.1:{self.bank_port}{path}", body)

    def wallet_with(self, amount: int) -> str:
        wallet = self.api("POST", "/wallets/")["uuid"]
        self.api("POST", f"/wallets/{wallet}/deposit", {"amount": amount})
        return f"/wallets/{wallet}"

    def withdraw(self, wallet: str, amount: int, seconds: float = 1) -> str:
        now = datetime.datetime.now(datetime.timezone.utc)
        due = (now + datetime.timedelta(seconds=seconds)).isoformat()
        body = {"amount": amount, "scheduled_for": due}
        created = self.api("POST", f"{wallet}/withdraw", body)
        return f"{wallet}/transactions/{created['id']}/"

    def assert_gone(self, seconds: float) -> None:
        self.wait_for(lambda: not self.processes(), seconds)


@pytest.mark.slow
@pytest.mark.timeout(600)
class MakeRunTest(RunTestCase):
    def test_pays_once_ends_cleanly_in_mid_payment_and_starts_again(self) -> None:
        process = self.start()
        wallet = self.wallet_with(10_000)
        first = self.withdraw(wallet, 4_000)
        self.wait_for(lambda: self.api("GET", first)["status"] == "COMPLETED", PATIENCE)

        self.bank("PUT", "/faults", {"latency": 4})
        second = self.withdraw(wallet, 1_000)
        self.wait_for(
            lambda: self.api("GET", second)["status"] == "PROCESSING", PATIENCE
        )
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        self.assert_gone(30)
        self.assertIn("everything has ended", self.output.read_text())
        self.assertNotIn("killed", self.output.read_text())

        process = self.start()
        for slow in PROGRESS:
            self.assertNotIn(slow, self.output.read_text())
        # The call was finished before the end, and not resolved after the start.
        self.assertEqual(self.api("GET", second)["status"], "COMPLETED")
        self.assertEqual(
            [p["amount"] for p in self.bank("GET", "/payments")], [4000, 1000]
        )
        self.assertEqual(self.api("GET", f"{wallet}/")["balance"], 5_000)
        process.terminate()  # SIGTERM to make alone
        self.assert_gone(30)

    def test_shows_the_pages_and_lets_their_operator_in(self) -> None:
        process = self.start()
        said = self.output.read_text()
        for path in ("api/docs/", "console/", "metrics"):
            self.assertIn(f"http://127.0.0.1:{self.port}/{path}", said)
        name, password = re.findall(r"log in as (\S+), password (\S+)", said)[0]
        self.assertTrue(self.logs_in(name, password))
        self.assertFalse(self.logs_in(name, "guessed"))
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics")
        self.assertIn(b"wallet_sweep_age_seconds", metrics.read())
        self.assertEqual(self.api("GET", "/readyz")["status"], "ok")
        process.terminate()
        self.assert_gone(30)

    def logs_in(self, name: str, password: str) -> bool:
        """Whether the console's form takes this operator."""
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = f"http://127.0.0.1:{self.port}/console/login"
        browser.open(page).close()
        token = next(c.value for c in jar if c.name == "csrftoken")
        form = {"username": name, "password": password, "csrfmiddlewaretoken": token}
        with browser.open(page, urllib.parse.urlencode(form).encode()) as answer:
            return not answer.url.startswith(page)

    def test_an_interrupt_of_make_alone_ends_everything(self) -> None:
        process = self.start()
        process.send_signal(signal.SIGINT)
        self.assert_gone(30)

    def test_leaves_nothing_when_the_launcher_is_killed(self) -> None:
        self.start()
        launchers = [p for p, c in self.processes().items() if "run.py" in c]
        self.assertEqual(len(launchers), 1)
        os.kill(launchers[0], signal.SIGKILL)
        self.assert_gone(30)

    def test_restarts_each_service(self) -> None:
        self.start()
        for words in (
            "wallet.serve",
            "celery --quiet -A wallet worker",
            "app.py",
            "valkey",
        ):
            before = {p for p, c in self.processes().items() if words in c}
            os.kill(min(before), signal.SIGKILL)

            def is_another(words: str = words, before: set[int] = before) -> bool:
                now = {p for p, c in self.processes().items() if words in c}
                return bool(now - before)

            self.wait_for(is_another, PATIENCE)
        self.wait_for(self.answers, PATIENCE)
        wallet = self.wallet_with(10_000)
        withdrawal = self.withdraw(wallet, 4_000)
        self.wait_for(
            lambda: self.api("GET", withdrawal)["status"] == "COMPLETED", PATIENCE
        )


@pytest.mark.timeout(600)
class RefusalTest(RunTestCase):
    """A problem that the user must solve is one line, soon; nothing is started."""

    def assert_refused(self, line: str, checkout: Path = ROOT) -> None:
        process = self.make_run(checkout)
        self.assertNotEqual(process.wait(timeout=PATIENCE), 0)
        said = self.output.read_text().splitlines()
        lines = [line for line in said if not line.startswith(PROGRESS)]
        self.assertEqual(len(lines), 2, lines)
        self.assertIn(line, lines[0])
        self.assertTrue(lines[1].startswith("make: ***"), lines)
        self.assertEqual(self.processes(), {})

    def test_a_taken_port(self) -> None:
        for port, variable in ((self.port, "PORT"), (self.bank_port, "BANK_PORT")):
            with socket.create_server(("127.0.0.1", port)):
                self.assert_refused(f"port {port} is taken (set {variable}=…)")

    def test_an_invalid_port(self) -> None:
        for text in ("0", "65536", "http", "-1", "٨"):
            self.env["PORT"] = text
            self.assert_refused("set it to a number from 1 to 65535")

    def test_one_port_for_two(self) -> None:
        self.env["BANK_PORT"] = self.env["PORT"]
        self.assert_refused("PORT and BANK_PORT are both")

    def test_a_python_that_is_too_old(self) -> None:
        old = self.folder / "python3.9"
        old.write_text("#!/bin/sh\necho old 3.9\n")
        old.chmod(0o755)
        self.env["PYTHON"] = str(old)
        self.assert_refused("Python 3.9 is too old: install Python 3.10 or newer")

    def test_a_python_without_ensurepip(self) -> None:
        bare = self.folder / "python3.12"
        bare.write_text("#!/bin/sh\necho bare 3.12\n")
        bare.chmod(0o755)
        self.env["PYTHON"] = str(bare)
        self.assert_refused("install its venv package")

    def test_no_python(self) -> None:
        self.env["PYTHON"] = str(self.folder / "nothing")
        self.assert_refused("no Python found: install Python 3.10 or newer")

    @pytest.mark.slow
    def test_an_install_that_fails(self) -> None:
        checkout = self.folder / "checkout"
        shutil.copytree(ROOT / "scripts", checkout / "scripts")
        shutil.copy(ROOT / "Makefile", checkout)
        (checkout / "requirements.txt").write_text("nothing @ file:///nowhere.tar\n")
        self.assert_refused("requirements.txt could not be installed: ", checkout)

    def test_a_database_that_does_not_answer(self) -> None:
        self.env["DATABASE_URL"] = f"postgres://wallet@127.0.0.1:{free_port()}/wallet"
        self.assert_refused("the database could not be migrated")


if __name__ == "__main__":
    unittest.main()

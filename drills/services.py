"""The programs of the service as a drill starts them: same commands, short times."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drills.process import ROOT, Process, free_port, wait_until

# In the required order (see `wallets.checks`), as short as possible.
SHORT_TIMES = {
    "WITHDRAWAL_DUE_INTERVAL": "2",
    "WITHDRAWAL_RETRY_INTERVAL": "2",
    "WITHDRAWAL_RESOLVE_INTERVAL": "2",
    "WITHDRAWAL_RETRY_BASE": "1",
    "WITHDRAWAL_RETRY_CAP": "3",
    "WITHDRAWAL_CHECK_BASE": "0.5",
    "WITHDRAWAL_CHECK_CAP": "2",
    "WITHDRAWAL_CONCURRENCY": "8",
    "THIRD_PARTY_CONNECT_TIMEOUT": "0.5",
    "THIRD_PARTY_DEADLINE": "1.5",
    "WITHDRAWAL_RECORDING_TIME": "0.5",
    "WITHDRAWAL_SOFT_TIME_LIMIT": "6",
    "WITHDRAWAL_HARD_TIME_LIMIT": "7",
    "WITHDRAWAL_LEASE": "8",
    "WITHDRAWAL_QUIET_PERIOD": "12",
    "THIRD_PARTY_BOOKING_TIME": "4",
}
# If no end of a call or a lease is waited for: for a busy machine.
PATIENT_TIMES = {
    "THIRD_PARTY_CONNECT_TIMEOUT": "30",
    "THIRD_PARTY_DEADLINE": "30",
    "WITHDRAWAL_SOFT_TIME_LIMIT": "100",
    "WITHDRAWAL_HARD_TIME_LIMIT": "110",
    "WITHDRAWAL_LEASE": "120",
    "WITHDRAWAL_QUIET_PERIOD": "180",
}
# The declared booking time, and a little less: how long a payment may not show.
BOOKING_DELAY = "3"
# The default application of `wallet.serve`.
APPLICATION = "wallet.asgi:application"
# The caller's settings must not decide the result.
_FOREIGN = (
    *("DB_", "CELERY_", "THIRD_PARTY_", "WITHDRAWAL_", "BANK_", "DATABASE_URL"),
    "WEBHOOK_",
)


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every program: short times, and changes."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN)
    }
    own = {"PYTHONUNBUFFERED": "1", "CELERY_RESULT_BACKEND": "cache+memory://"}
    return inherited | own | SHORT_TIMES | dict(changes)


def worker(
    name: str,
    env: Mapping[str, str],
    folder: Path,
    *,
    app: str = "wallet",
    pool: Sequence[str] = ("-c", "2"),
) -> Process:
    """A Celery worker, with two children unless another pool is given."""
    options = ["worker", "--loglevel", "INFO", "-n", f"{name}@%h", *pool]
    return _celery(name, options, env, folder, app)


def beat(name: str, env: Mapping[str, str], folder: Path) -> Process:
    """A Celery Beat."""
    options = ["beat", "--loglevel", "INFO", "--pidfile", ""]
    return _celery(name, options, env, folder)


def command(name: str, what: str, env: Mapping[str, str], folder: Path) -> Process:
    """A command of `manage.py` that runs until it is stopped."""
    line = [sys.executable, "manage.py", what]
    return Process(name, line, env=env, log=folder / f"{name}.log")


def _celery(
    name: str,
    options: list[str],
    env: Mapping[str, str],
    folder: Path,
    app: str = "wallet",
) -> Process:
    command = [sys.executable, "-m", "celery", "-A", app, *options]
    return Process(name, command, env=env, log=folder / f"{name}.log")


class Api(Process):
    """The API as in production, or another `module:application`."""

    def __init__(
        self, env: Mapping[str, str], folder: Path, application: str = APPLICATION
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "wallet.serve", application]
        super().__init__(
            "api",
            [*command, "--port", str(self.port)],
            env=env,
            log=folder / "api.log",
        )

    def start(self) -> None:
        super().start()
        wait_until(self.answers, seconds=60, what="the API to answer")

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            urllib.request.urlopen(f"{self.url}/healthz", timeout=1).close()
        except OSError:
            return False
        return True


class Bank(Process):
    """The bank simulator; its list survives it."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {
            "BANK_PORT": str(self.port),
            "BANK_DATA": str(folder / "bank.sqlite3"),
            "BANK_BOOKING_DELAY": BOOKING_DELAY,
        }
        super().__init__(
            "bank",
            [sys.executable, "app.py"],
            env={**env, **settings},
            log=folder / "bank.log",
            cwd=ROOT / "third-party",
        )

    def start(self) -> None:
        super().start()
        wait_until(
            lambda: self.said(f"listening on {self.url}"),
            seconds=30,
            what=f"the bank simulator to listen on port {self.port}",
        )

    def payments(self) -> list[dict[str, Any]]:
        """Return what it really paid."""
        with urllib.request.urlopen(f"{self.url}/payments", timeout=30) as answer:
            payments: list[dict[str, Any]] = json.load(answer)
        return payments

    def set_faults(self, **faults: Any) -> None:
        """Make it fail in this way from now on."""
        request = urllib.request.Request(
            f"{self.url}/faults", json.dumps(faults).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).close()

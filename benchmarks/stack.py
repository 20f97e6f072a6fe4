"""The programs under test, started as in production, on a database of the run."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from drills.process import ROOT, Process, children_of, free_port, listens, wait_until

# The caller's settings must not decide the result.
_FOREIGN = (
    *("DB_", "CELERY_", "THIRD_PARTY_", "WITHDRAWAL", "BANK_", "WEB_", "LOG_"),
    *("DATABASE_", "METRICS_", "DEBUG"),
)
# Two of the worker's four processes pay due withdrawals.
WORKER_PROCESSES = 4
DRAINS = 2


def environment(database_url: str, broker_url: str, **changes: str) -> dict[str, str]:
    """Return the environment of every program: the defaults, addresses and changes."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN)
    }
    own = {
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": broker_url,
        "CELERY_RESULT_BACKEND": "cache+memory://",
        # Other workers of this broker must not get the messages of the run.
        "CELERY_TASK_DEFAULT_QUEUE": f"wallet-bench-{os.getpid()}",
        "THIRD_PARTY_DEDUPES": "true",
        "THIRD_PARTY_LOOKUP": "true",
    }
    return inherited | own | changes


@dataclass(frozen=True)
class Api:
    """The running API and its port."""

    process: Process
    port: int


class Programs(ExitStack):
    """Starts programs; ends them in reverse order at the end of the `with` block."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        super().__init__()
        self.env = env
        self.folder = folder

    def _start(
        self,
        name: str,
        command: list[str],
        changes: Mapping[str, str] = MappingProxyType({}),
        **options: Any,
    ) -> Process:
        log = self.folder / f"{name}.log"
        env = {**self.env, **changes, "SERVICE_NAME": name}
        process = Process(name, command, env=env, log=log, **options)
        process.start()
        self.callback(process.end, 45)
        return process

    def api(self, name: str = "api", **env: str) -> Api:
        """Start the API like `make serve`."""
        port = free_port()
        command = [sys.executable, "-m", "wallet.serve", "--port", str(port)]
        process = self._start(name, command, env)
        wait_until(lambda: listens(port), seconds=60, what="the API to listen")
        # The first answer of each process imports further modules.
        for _ in range(10):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
        return Api(process, port)

    def command(self, name: str, **env: str) -> Process:
        """Start a command of manage.py that does not end."""
        return self._start(name, [sys.executable, "manage.py", name], env)

    def worker(self, in_flight: int = 64) -> Process:
        """Start a Celery worker with this many calls in flight."""
        self.env = self.env | {"WITHDRAWAL_CONCURRENCY": str(in_flight // DRAINS)}
        options = ["-n", f"bench{os.getpid()}@%h", "-c", str(WORKER_PROCESSES)]
        process = self._celery("worker", *options)
        wait_until(lambda: process.said("ready."), seconds=60, what="the worker")
        return process

    def beat(self) -> Process:
        """Start a Celery Beat: its first tick is at once."""
        return self._celery("beat", "--pidfile", "")

    def _celery(self, name: str, *options: str) -> Process:
        command = [sys.executable, "-m", "celery", "-A", "wallet", name]
        return self._start(name, [*command, "--loglevel", "INFO", *options])

    def answerer(self, latency: float) -> None:
        """Start a bank that takes `latency` seconds for a payment and is no limit."""
        port = self._bank_port()
        module = ["-m", "benchmarks.answerer", str(port), str(latency)]
        self._start("bank", [sys.executable, *module])
        wait_until(lambda: listens(port), seconds=30, what="the answerer")

    def bank(self) -> Bank:
        """Start the bank simulator with gunicorn, as in its container."""
        port = self._bank_port()
        self.env = self.env | {"BANK_DATA": str(self.folder / "bank.sqlite3")}
        command = [sys.executable, "-m", "gunicorn", "app:app"]
        command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
        command += ["--threads", "128", "--keep-alive", "75", "--no-control-socket"]
        self._start("bank", command, cwd=ROOT / "third-party")
        wait_until(lambda: listens(port), seconds=30, what="the bank simulator")
        return Bank(port)

    def _bank_port(self) -> int:
        port = free_port()
        self.env = self.env | {"THIRD_PARTY_BASE_URL": f"http://127.0.0.1:{port}"}
        return port


class Bank:
    """The running simulator."""

    def __init__(self, port: int) -> None:
        self.port = port

    def set_faults(self, **faults: Any) -> None:
        """Change the simulator's faults."""
        url = f"http://127.0.0.1:{self.port}/faults"
        body = json.dumps(faults).encode()
        request = urllib.request.Request(url, body, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()


def cpu_of(process: Process) -> float:
    """Return the CPU time of the process and its children so far, in seconds."""
    ticks = 0
    for pid in (process.pid, *children_of(process.pid)):
        _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        ticks += sum(map(int, fields.split()[11:13]))  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of(process: Process) -> float:
    """Return the private memory of the process and its children, in MB."""
    total = 0
    for pid in (process.pid, *children_of(process.pid)):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total / 1024

"""`make costs`: what the feed of events, and a key, cost a deposit, side by side.

Deposits of 16 connections on PostgreSQL, in turns: without events and without keys
("plain"), while `run_events` makes the feed ("events"), and with a key ("keys"). All use
one database. The machine is saturated, load generator included, so the ratio of two rates
is the ratio of what their deposits cost. `run_events` works on plain deposits only
between the turns. Each figure is the median of the turns' ratios: a turn is compared with
the plain one right before it. `commit_to_feed_p99`: how long after a movement is seen
committed its event is in the feed, during the turns with events.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.load import Load
    from benchmarks.stack import Api, Programs

ROOT = Path(__file__).resolve().parents[1]
WALLETS = 10_000
CONNECTIONS = 16
PLAIN, EVENTS, KEYS = "plain", "events", "keys"


def main() -> int:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(prog="make costs", description=__doc__)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    # SIGTERM ends the run like Ctrl-C, so that its database is dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.insert(0, str(ROOT / "scripts"))
    from ops import servers

    name = f"wallet_bench_{os.getpid()}"
    url = servers.database_url(servers.POSTGRESQL.url, name)
    os.environ |= {
        "DATABASE_URL": url,
        "DATABASE_STATEMENT_TIMEOUT": "0",
        "API_AUTH": "keys",  # so that the tables of keys are made
        "DJANGO_SETTINGS_MODULE": "wallet.settings",
    }
    import django

    django.setup()
    from benchmarks import fill
    from benchmarks.databases import database
    from benchmarks.stack import Programs, environment

    with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder, database(name):
        owners = [str(one.uuid) for one in fill.wallets(WALLETS, balance=10**9)]
        env = environment(url, "memory://", API_AUTH="none", EVENTS_ENABLED="false")
        with Programs(env, Path(folder)) as programs:
            _Turns(programs, owners).run(options.turns, options.seconds)
    return 0


class _Turns:
    """The programs, and the turns of each kind."""

    def __init__(self, programs: Programs, owners: list[str]) -> None:
        self._owners = owners
        self._secret = _new_key()
        self._apis: dict[str, Api] = {
            PLAIN: programs.api("plain"),
            EVENTS: programs.api("events", EVENTS_ENABLED="true"),
            KEYS: programs.api("keys", API_AUTH="keys", API_KEY_RATE="100000000"),
        }
        self._feed = programs.command("run_events", EVENTS_ENABLED="true")
        self._lags: list[float] = []

    def run(self, turns: int, seconds: float) -> None:
        """Take the turns; print rates, CPU of the feed, and ratios."""
        ratios: dict[str, list[float]] = {EVENTS: [], KEYS: []}
        for kind in (PLAIN, EVENTS, KEYS):
            self._turn(kind, seconds)  # the first one imports modules
        for _ in range(turns):
            for kind, found in ratios.items():
                plain = self._turn(PLAIN, seconds).rate
                load = self._turn(kind, seconds)
                found.append(load.rate / plain)
                cpu = f", run_events {load.cpu_us:.1f} us of CPU each" * bool(load.cpu)
                print(f"plain {plain:,.0f}/s, {kind} {load.rate:,.0f}/s{cpu}")
        for kind, found in ratios.items():
            low, middle, high = statistics.quantiles(found, n=4)
            print(f"{kind}_over_plain {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
        if self._lags:
            last = sorted(self._lags)[len(self._lags) * 99 // 100]
            print(f"commit_to_feed_p99 {last:.3f} s, of {len(self._lags)} events")

    def _turn(self, kind: str, seconds: float) -> Load:
        from benchmarks.load import HttpClient, drive
        from benchmarks.stack import cpu_of

        port = self._apis[kind].port
        clients = [HttpClient(port) for _ in range(CONNECTIONS)]
        messages = self._deposits(kind == KEYS)
        if kind != EVENTS:
            os.kill(self._feed.pid, signal.SIGSTOP)
        before = cpu_of(self._feed)
        with _lags(self._lags) if kind == EVENTS else nullcontext():
            load = drive(clients, messages, seconds=seconds)
        os.kill(self._feed.pid, signal.SIGCONT)
        if kind == EVENTS:
            _wait_for_feed()  # what is left is part of the cost
            load.cpu = cpu_of(self._feed) - before
        _wait_for_feed()
        return load

    def _deposits(self, has_key: bool) -> Iterator[bytes]:
        from benchmarks.load import http_post

        headers = [f"Authorization: Bearer {self._secret}"] * has_key
        for _ in repeat(None):
            path = f"/wallets/{random.choice(self._owners)}/deposit"
            key = f"Idempotency-Key: {uuid.uuid4()}"
            yield http_post(path, b'{"amount": 1}', key, *headers)


@contextmanager
def _lags(found: list[float]) -> Iterator[None]:
    """Add to `found` after how many seconds movements of meanwhile are in the feed."""
    from django.db import connection

    from events.models.event import Event, Source
    from wallets.models.ledger import Movement

    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.005):
            newest = Movement.objects.order_by("-pk").values_list("pk", flat=True)[:1]
            (number,), seen = list(newest), time.monotonic()
            events = Event.objects.filter(source=Source.MOVEMENT, source_id=number)
            while not events.exists():
                time.sleep(0.005)
            found.append(time.monotonic() - seen)
        connection.close()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(120)


def _new_key() -> str:
    command = [sys.executable, "manage.py", "api_key", "create", "costs"]
    command += ["--scopes", "*", "--by", "benchmark"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def _wait_for_feed(patience: float = 120) -> None:
    """Wait until every movement has its event."""
    from events.models.event import Event, Source
    from wallets.models.ledger import Movement

    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        last = Movement.objects.order_by("-pk").values_list("pk", flat=True)[:1]
        made = Event.objects.filter(source=Source.MOVEMENT, source_id__in=list(last))
        if made.exists():
            return
        time.sleep(0.1)
    raise TimeoutError("the feed does not follow")


if __name__ == "__main__":
    sys.exit(main())

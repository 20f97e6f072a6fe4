"""`make near-due`: many clients schedule withdrawals that are due soon.

They use the API, at the requested rate, and every withdrawal is due within the tick.
Other clients ("strangers") have scheduled theirs long before. The lateness of each
payment is the time of the bank's decision minus the scheduled time, on the clock of one
machine. Exit code 1: not all are paid, or one of a hundred is later than `--most`
seconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BANK_LATENCY = 0.1
SECONDS_TO_SETTLE = 180
HEADERS = {"Content-Type": "application/json"}


def main() -> int:
    """Measure, and print the lateness."""
    parser = argparse.ArgumentParser(prog="make near-due", description=__doc__)
    parser.add_argument("--rate", type=int, default=100, help="near ones a second")
    parser.add_argument("--strangers", type=int, default=5, help="a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--ahead", type=float, default=9, help="due so soon at most")
    parser.add_argument(
        "--before", type=float, default=15, help="the strangers' are scheduled so long"
    )
    parser.add_argument("--most", type=float, help="seconds that p99 may be late")
    options = parser.parse_args()
    # SIGTERM ends the run like Ctrl-C, so that its database is dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.insert(0, str(ROOT / "scripts"))
    from ops import servers

    name = f"wallet_bench_{os.getpid()}"
    os.environ["DATABASE_URL"] = servers.database_url(servers.POSTGRESQL.url, name)
    os.environ["DATABASE_STATEMENT_TIMEOUT"] = "0"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
    import django

    django.setup()
    from benchmarks.databases import database

    with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder, database(name):
        url = servers.database_url(servers.POSTGRESQL.url, name)
        return int(not _measure(options, url, Path(folder)))


def _measure(options: argparse.Namespace, url: str, folder: Path) -> bool:
    from benchmarks import fill, stack
    from drills.broker import OwnRedis

    owners = [str(wallet.uuid) for wallet in fill.wallets(100, balance=10**15)]
    redis = OwnRedis(folder)
    redis.start()
    env = stack.environment(url, redis.url)
    try:
        with stack.Programs(env, folder) as programs:
            bank = programs.bank()
            bank.set_faults(latency=BANK_LATENCY, failure_rate=0)
            programs.worker(128)
            programs.beat()
            flood = _Flood(options, programs.api().port, owners)
            flood.run()
            late = flood.late(bank.port)
            _print(late)
            return flood.all_paid and in_time(late, options.most)
    finally:
        redis.kill()


class _Flood:
    """The scheduled withdrawals, each identified by a different amount."""

    def __init__(
        self, options: argparse.Namespace, port: int, owners: list[str]
    ) -> None:
        self._options = options
        self._port = port
        self._owners = owners
        self._due: dict[int, tuple[str, datetime]] = {}
        self._amounts = iter(range(1, 10**9))
        self._drawing = threading.Lock()
        self.all_paid = False

    def run(self) -> None:
        """Schedule the others' withdrawals; when the first is due, send the flood."""
        first = datetime.now(timezone.utc) + timedelta(seconds=self._options.before)
        client = self._client()
        count = self._options.strangers * self._options.seconds
        for number in range(count):
            due = first + timedelta(seconds=number / self._options.strangers)
            self._schedule(client, "strangers", due)
        until = (first - datetime.now(timezone.utc)).total_seconds()
        time.sleep(max(0.0, until))
        # There are several clients, so that no request waits for an earlier answer.
        clients = [threading.Thread(target=self._near, args=(n,)) for n in range(4)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()

    def _near(self, number: int) -> None:
        client, began = self._client(), time.monotonic()
        gap = 4 / self._options.rate
        for turn in range(round(self._options.seconds / gap)):
            time.sleep(max(0.0, began + (turn + number / 4) * gap - time.monotonic()))
            ahead = random.uniform(0.5, self._options.ahead)
            due = datetime.now(timezone.utc) + timedelta(seconds=ahead)
            self._schedule(client, "near", due)

    def _client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _schedule(
        self, client: http.client.HTTPConnection, whose: str, due: datetime
    ) -> None:
        with self._drawing:
            amount = next(self._amounts)
        self._due[amount] = (whose, due)
        body = json.dumps({"amount": amount, "scheduled_for": due.isoformat()})
        path = f"/wallets/{random.choice(self._owners)}/withdraw"
        client.request("POST", path, body, HEADERS)
        answer = client.getresponse()
        text = answer.read()
        if answer.status == 422:  # the request came after its scheduled time
            del self._due[amount]
        elif answer.status != 201:
            raise RuntimeError(f"{answer.status}: {text.decode()}")

    def late(self, bank_port: int) -> dict[str, list[float]]:
        """Wait until all are paid; return the seconds by which each was late."""
        paid: list[dict[str, Any]] = []
        ends = time.monotonic() + SECONDS_TO_SETTLE
        while len(paid) < len(self._due) and time.monotonic() < ends:
            time.sleep(1)
            url = f"http://127.0.0.1:{bank_port}/payments"
            with urllib.request.urlopen(url, timeout=30) as answer:
                paid = json.load(answer)
        late: dict[str, list[float]] = {"near": [], "strangers": []}
        for payment in paid:
            whose, due = self._due[payment["amount"]]
            at = datetime.fromisoformat(payment["paid_at"])
            late[whose].append((at - due).total_seconds())
        missing = len(self._due) - len(paid)
        self.all_paid = not missing
        if missing:
            print(f"not paid after {SECONDS_TO_SETTLE} s: {missing}")
        return late


def share_of(seconds: list[float], share: int) -> float:
    """Return the percentile of how late they were."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def in_time(late: dict[str, list[float]], most: float | None) -> bool:
    """Whether there are both kinds, and 99 of 100 of each were not later than `most`."""
    return all(late.values()) and (
        most is None or max(share_of(some, 99) for some in late.values()) <= most
    )


def _print(late: dict[str, list[float]]) -> None:
    for whose, seconds in late.items():
        shares = (f"p{n} {share_of(seconds, n):.3f} s" for n in (50, 95, 99) if seconds)
        last = f" max {max(seconds):.3f} s" if seconds else ""
        print(f"{whose:<10} {len(seconds):>6} paid, {' '.join(shares)}{last}")


if __name__ == "__main__":
    sys.exit(main())

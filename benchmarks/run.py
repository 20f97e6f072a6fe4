"""One run on one database engine: makes the databases, starts the programs, measures."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.core.management import call_command
from django.db import connection

from benchmarks import figures, fill
from benchmarks.anchor import Anchor
from benchmarks.databases import database
from benchmarks.load import Load
from benchmarks.sizes import Size
from benchmarks.stack import Programs, environment, memory_of
from drills.databases import use
from drills.process import Process
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit

PARTS = ("deposits", "drains", "lateness", "history")


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def say_load(name: str, load: Load) -> None:
    """A measurement, as soon as it is there."""
    say(
        f"  {name:<16} {load.rate:>9,.0f}/s   p50 {load.quantile(0.5):>7.1f} ms"
        f"   p99 {load.quantile(0.99):>7.1f} ms"
    )


class Run:
    """The measurements of one run. `database_url` names a database that may be made."""

    def __init__(self, database_url: str, broker_url: str, size: Size) -> None:
        self.url = database_url
        self.broker_url = broker_url
        self.size = size
        self.loads: dict[str, Load] = {}
        self.memory: dict[str, list[Any]] = {}
        self.folder = Path()

    def measure(self, parts: Collection[str], *, memory: bool = False) -> None:
        """Measure these parts. What was made for it is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder:
            self.folder = Path(folder)
            name = str(connection.settings_dict["NAME"])
            if {"deposits", "drains", "lateness"} & set(parts) or memory:
                with database(name):
                    self._on(name, parts, memory)
            if "history" in parts:
                with database(f"{name}_short"), database(f"{name}_long"):
                    self._history({n: f"{name}_{n}" for n in ("short", "long")})

    def _on(self, name: str, parts: Collection[str], memory: bool) -> None:
        owners = fill.wallets(self.size.wallets, balance=10**9)
        if "deposits" in parts:
            self._deposits(name, owners)
        if {"drains", "lateness"} & set(parts):
            self._payouts(name, owners, parts)
        if memory:
            self._memory(name, owners)
        say("verifying the books")
        findings = list(ledger_audit.verify())
        assert not findings, findings[:10]

    def _deposits(self, name: str, owners: list[Wallet]) -> None:
        say("deposits")
        anchor = None
        if connection.vendor == "postgresql":
            wallets = self.size.wallets
            anchor = Anchor(self._url(name), self.folder, wallets=wallets)
        with self._programs(name) as programs:
            _, port = programs.api()
            self.loads |= figures.deposits(port, owners, anchor, self.size, say_load)

    def _payouts(self, name: str, owners: list[Wallet], parts: Collection[str]) -> None:
        with self._programs(name) as programs:
            bank = programs.bank()
            programs.worker()
            programs.beat()
            if "drains" in parts:
                say("drains")
                self.loads |= figures.drains(bank, owners, self.size, say_load)
            if "lateness" in parts:
                say(f"lateness: withdrawals over {self.size.late_seconds} s")
                _, port = programs.api()
                self.loads |= figures.lateness(port, owners, bank, self.size, say_load)

    def _history(self, names: dict[str, str]) -> None:
        say("history")
        for length, count in zip(("short", "long"), self.size.past, strict=True):
            say(f"  a past of {count:,} deposits and {count:,} withdrawals to come")
            use(names[length])
            fill.wallets(self.size.wallets)
            fill.past(count)
            connection.close()
        with self._programs(names["short"]) as programs:
            ports = {
                length: programs.api(f"api-{length}", DATABASE_URL=self._url(name))[1]
                for length, name in names.items()
            }
            self.loads |= figures.history(
                ports, lambda length: use(names[length]), self.size, say_load
            )
        connection.close()

    def _memory(self, name: str, owners: list[Wallet]) -> None:
        """Memory after a tenth of the work, when all is loaded, and after all of it."""
        count = self.size.memory
        say(f"memory over {count:,} deposits and payouts")
        with self._programs(name) as programs:
            bank = programs.bank()
            bank.set_faults(latency=0, failure_rate=0)
            api, port = programs.api(WEB_MAX_REQUESTS="0")
            self._grows("API", api, count, lambda n: figures.deposit(port, owners, n))
            worker = programs.worker()
            programs.beat()
            self._grows("worker", worker, count, lambda n: figures.drain(owners, n))

    def _grows(self, name: str, process: Process, count: int, work: Any) -> None:
        work(count // 10)
        first = memory_of(process)
        began = time.monotonic()
        work(count - count // 10)
        after = memory_of(process)
        done = f"{count:,} in {time.monotonic() - began:.0f} s"
        self.memory[name] = [round(first, 1), round(after, 1), done]
        say(f"  {name}: {first:.1f} MB, after {done}: {after:.1f} MB")

    def sqlite_together(self) -> None:
        """Deposits through two processes while the worker pays; nothing may fail."""
        with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder:
            self.folder = Path(folder)
            call_command("migrate", verbosity=0)
            owners = fill.wallets(self.size.wallets, balance=10**9)
            with self._programs(str(connection.settings_dict["NAME"])) as programs:
                bank = programs.bank()
                bank.set_faults(latency=0, failure_rate=0)
                fill.due(owners, self.size.drain)
                _, port = programs.api(WEB_CONCURRENCY="2")
                programs.worker()
                programs.beat()
                self.loads |= figures.together(port, owners, self.size, say_load)
            logs = "".join(log.read_text() for log in self.folder.glob("*.log"))
            assert "locked" not in logs, "database is locked: see the logs"

    def _programs(self, name: str) -> Programs:
        tick = {"WITHDRAWAL_DUE_INTERVAL": str(self.size.tick)}
        env = environment(self._url(name), self.broker_url, **tick)
        return Programs(env, self.folder)

    def _url(self, name: str) -> str:
        if connection.vendor == "sqlite":
            return self.url
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

"""One run on one database engine: create databases, start the programs, measure."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.core.management import call_command
from django.db import connection

from benchmarks import figures, fill
from benchmarks.anchor import Anchor
from benchmarks.anchor_mysql import MysqlAnchor
from benchmarks.databases import database
from benchmarks.load import Load
from benchmarks.sizes import Size
from benchmarks.stack import Programs, environment, memory_of
from drills.databases import use
from drills.process import Process
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit

# The endpoints and the drains that are measured on MariaDB.
ON_MYSQL = ("deposit", "withdraw", "bulk"), ("drain_100ms",)


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def say_load(name: str, load: Load) -> None:
    """Print a measurement as soon as it is complete."""
    cpu = f"   CPU {load.cpu_us:>6.0f} us each" if load.cpu else ""
    say(
        f"  {name:<20} {load.rate:>9,.0f}/s   p50 {load.quantile(0.5):>7.1f} ms"
        f"   p99 {load.quantile(0.99):>7.1f} ms{cpu}"
    )


class Run:
    """The measurements of one run. It creates the databases of `database_url`."""

    def __init__(self, database_url: str, broker_url: str, size: Size) -> None:
        self.url = database_url
        self.broker_url = broker_url
        self.size = size
        self.loads: dict[str, Load] = {}
        self.memory: dict[str, list[Any]] = {}
        self.folder = Path()

    def measure(self, parts: Collection[str], *, memory: bool = False) -> None:
        """Measure these parts; drop the databases and delete the files afterwards."""
        with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder:
            self.folder = Path(folder)
            name = str(connection.settings_dict["NAME"])
            if set(parts) - {"history", "others"} or memory:
                with database(name):
                    self._on(name, parts, memory)
            if "history" in parts:
                with database(f"{name}_short"), database(f"{name}_long"):
                    self._history({n: f"{name}_{n}" for n in ("short", "long")})

    def _on(self, name: str, parts: Collection[str], memory: bool) -> None:
        owners = fill.wallets(self.size.wallets, balance=10**9)
        mysql = connection.vendor == "mysql"
        if "endpoints" in parts and mysql:
            self._endpoints(name, ON_MYSQL[0])
        elif "endpoints" in parts:
            fill.deposits(owners[0], self.size.movements)
            self._endpoints(name)
        if {"drains", "lateness"} & set(parts):
            for drain in ON_MYSQL[1] if mysql else figures.DRAINS:
                self._payouts(name, drain, owners, parts)
        if memory:
            self._memory(name, owners)
        say("verifying the books")
        findings = list(ledger_audit.verify())
        assert not findings, findings[:10]

    def _anchor(self, name: str) -> figures.Anchor:
        url, wallets = self._url(name), self.size.wallets
        if connection.vendor == "mysql":
            return MysqlAnchor(url, wallets=wallets)
        return Anchor(url, self.folder, wallets=wallets)

    def _endpoints(self, name: str, asked: Collection[str] = ()) -> None:
        say("endpoints")
        anchor = self._anchor(name)
        with self._programs(name) as programs:
            api = programs.api()
            self.loads |= figures.requests(api, asked, anchor, self.size, say_load)

    def _payouts(
        self, name: str, drain: str, owners: list[Wallet], parts: Collection[str]
    ) -> None:
        """Measure due withdrawals with this bank; with the simulator also lateness."""
        how = figures.DRAINS[drain]
        is_late_too = how.simulator and "lateness" in parts
        if "drains" not in parts and not is_late_too:
            return
        with self._programs(name) as programs:
            if how.simulator:
                programs.bank().set_faults(latency=how.latency, failure_rate=0)
            else:
                programs.answerer(how.latency)
            worker = programs.worker(how.in_flight)
            programs.beat()
            if "drains" in parts:
                say(f"{drain}: {how.in_flight} calls in flight")
                self._drain(name, drain, worker, owners)
            if is_late_too:
                say(f"lateness: withdrawals over {self.size.late_seconds} s")
                api = programs.api()
                self.loads |= figures.lateness(api, owners, self.size, say_load)

    def _drain(
        self, name: str, drain: str, worker: Process, owners: list[Wallet]
    ) -> None:
        """Measure the rounds of one drain; with the first kind also the anchor."""
        anchor = self._anchor(name) if drain == "drain_ceiling" else None
        for _ in range(self.size.rounds):
            if anchor:
                load = anchor.run(self.size.seconds)
                figures.add(self.loads, f"{anchor.name}_by_drain", load, say_load)
            load = figures.drain(worker, owners, self.size.drain)
            figures.add(self.loads, drain, load, say_load)

    def _history(self, names: dict[str, str]) -> None:
        say("history")
        for length, count in zip(("short", "long"), self.size.past, strict=True):
            say(f"  a past of {count:,} deposits and {count:,} withdrawals to come")
            use(names[length])
            fill.wallets(self.size.wallets)
            fill.past(count)
            connection.close()
        with self._programs(names["short"]) as programs:
            apis = {
                length: programs.api(f"api-{length}", DATABASE_URL=self._url(name))
                for length, name in names.items()
            }
            self.loads |= figures.history(
                apis, lambda length: use(names[length]), self.size, say_load
            )
        connection.close()

    def _memory(self, name: str, owners: list[Wallet]) -> None:
        """Measure memory after a tenth of the work (all is loaded) and at its end."""
        say(f"memory over {self.size.memory:,} deposits and payouts")
        with self._programs(name) as programs:
            api = programs.api()
            self._grows(
                "API", api.process, lambda n: figures.deposit(api, self.size, n)
            )
            programs.answerer(latency=0)
            worker = programs.worker()
            programs.beat()
            self._grows("worker", worker, lambda n: figures.drain(worker, owners, n))

    def _grows(self, name: str, process: Process, work: Callable[[int], Load]) -> None:
        count = self.size.memory
        work(count // 10)
        first = memory_of(process)
        began = time.monotonic()
        work(count - count // 10)
        after = memory_of(process)
        done = f"{count:,} in {time.monotonic() - began:.0f} s"
        self.memory[name] = [round(first, 1), round(after, 1), done]
        say(f"  {name}: {first:.1f} MB, after {done}: {after:.1f} MB")

    def sqlite_together(self) -> None:
        """Measure deposits by two processes while the worker pays; nothing may fail."""
        with tempfile.TemporaryDirectory(prefix="wallet-bench-") as folder:
            self.folder = Path(folder)
            call_command("migrate", verbosity=0)
            owners = fill.wallets(self.size.wallets, balance=10**9)
            with self._programs(str(connection.settings_dict["NAME"])) as programs:
                programs.answerer(latency=0)
                fill.due(owners, self.size.drain)
                api = programs.api(WEB_CONCURRENCY="2")
                programs.worker()
                programs.beat()
                self.loads |= figures.together(api, self.size, say_load)
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

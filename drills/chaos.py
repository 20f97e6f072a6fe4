"""`make chaos SECONDS=120`: clients, faults at the same time, then a check.

Clients deposit, withdraw, reschedule, cancel and transfer; others freeze, unfreeze and
close wallets and correct; a receiver of webhooks fails, hangs and lies. In the end the ledger is what
the clients were told and the bank paid, the feed has each change once, and the receiver
every event, in the order of each wallet.

Everything runs in its own processes on free loopback ports, on a database that is made
for the run and dropped after it. `SEED` repeats the schedule of faults. The logs are
kept if something went wrong; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from drills import servers, settings, system, webhooks
from drills.checker import Payment
from drills.history import OK, REFUSED, UNKNOWN, History
from drills.nemesis import Nemesis
from drills.process import wait_until
from drills.proxy import Proxy
from drills.report import Report
from drills.servers import OwnServer

# From the last fault to the last withdrawal: a lease, the quiet period, all retries.
SETTLE_SECONDS = 180
# What is logged before a process ends by itself: Celery's worker; and the API's server, of
# which the same process has ended twice within 5.5 seconds.
GAVE_UP = ("Unrecoverable error", "Worker crash loop detected")
PROGRESS_SECONDS = 5
NAME = "wallet_chaos"


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; `make` passes the variables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=float(os.environ.get("SECONDS") or 120))
    add("--seed", type=int, default=os.environ.get("SEED") or None)
    add(
        "--database",
        default=os.environ.get("DATABASE_URL") or "sqlite",
        help=f"{', '.join(settings.SERVERS)}, or an address: only its server counts",
    )
    add(
        "--broker",
        default="",
        help="the address of a broker to use; none: an own Redis",
    )
    add(
        "--shared",
        action="store_true",
        help="use the database server that runs, which then is not hurt;"
        " else one is started for the run where it is installed",
    )
    add("--bank", default="able", choices=system.BANKS, help="what the bank can do")
    add("--clients", type=int, default=4)
    add("--wallets", type=int, default=8)
    add("--calm", action="store_true", help="no faults: what it looks like without")
    add(
        "--only", choices=["webhooks"], help="only the faults between feed and receiver"
    )
    add("--keep", action="store_true", help="keep the logs in any case")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    return options


def main(arguments: list[str]) -> int:
    """Run it once; return the exit code."""
    options = options_of(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="wallet-chaos-"))
    kind = kind_of(options.database)
    own = not (options.shared or servers.missing(kind))
    server = servers.start(kind) if own else None
    address = server.url(NAME) if server else settings.address(kind, folder)
    report, good = Report(options.seed), False
    try:
        system.prepare(system.variables(address, options.bank))
        print(
            f"chaos: {options.seconds:g} s, seed {options.seed}, {options.database}, bank"
            f" {options.bank}, logs in {folder}",
            flush=True,
        )
        run(options, folder, address, report, server)
        print(report.text(), flush=True)
        good = not report.wrongs
    finally:
        if server is not None:
            if not good:
                shutil.copy(server.log, folder / "database.log")
            server.end()
        if good and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"logs kept in {folder}", flush=True)
    return 0 if good else 1


def kind_of(database: str) -> str:
    """Return the kind of database of a URL; a kind is returned as it is."""
    kinds = {"postgres": "postgresql", "mysql": "mariadb"}
    return kinds.get(database.partition(":")[0], database.partition(":")[0])


def run(
    options: argparse.Namespace,
    folder: Path,
    address: str,
    report: Report,
    server: OwnServer | None,
) -> None:
    """Make the database, start everything, provoke faults, check; remove everything."""
    from django.core.management import call_command

    from drills.databases import Databases, use

    name = address.partition("?")[0].rpartition("/")[2]
    if "sqlite" in address:
        name = address.rpartition("sqlite:///")[2]
    databases = Databases(name, 0)
    # The services reach our own server through a proxy, which can fall silent.
    proxy = Proxy(server.port) if server else None
    theirs = server.url(name, port=proxy.port) if server and proxy else address
    this = system.System(
        system.variables(theirs, options.bank),
        folder,
        bank=options.bank,
        broker_url=options.broker,
        database=server,
        proxy=proxy,
    )
    try:
        databases.create()
        use(name)
        call_command("migrate", verbosity=0)
        this.start()
        history = suffer(options, this, report)
        settle(options, this, history, report)
        judge(options, this, history, report)
    finally:
        this.end()
        if proxy is not None:
            proxy.close()
        if server is None:
            databases.drop()


def suffer(options: argparse.Namespace, this: system.System, report: Report) -> History:
    """Run clients and faults at the same time, for as long as asked."""
    from drills.clients import Client
    from drills.operators import Corrector, Keeper
    from drills.trouble import Trouble
    from drills.trouble_webhooks import OnlyWebhookTrouble

    history, ends = History(), threading.Event()
    if this.receiver is not None:
        this.receiver.register(this.api.url)
    make = partial(webhooks.ask, this.api.url, "POST", "/wallets/")
    wallets = [str(make()["uuid"]) for _ in range(options.wallets)]
    kinds: list[type[Client]] = [Client] * options.clients + [Keeper, Corrector]
    clients = [
        kind(this.api.url, history, wallets, f"{options.seed}/{n}", ends)
        for n, kind in enumerate(kinds)
    ]
    faults = OnlyWebhookTrouble if options.only else Trouble
    nemesis = faults(
        this, seed=options.seed, seconds=0 if options.calm else options.seconds
    )
    began = shown = time.monotonic()
    for client in clients:
        client.start()
    while (passed := time.monotonic() - began) < options.seconds:
        nemesis.step()
        for process in nemesis.spared:
            if not process.alive:
                gave_up = any(process.said(text) for text in GAVE_UP)
                report.died(process.name, gave_up=gave_up)
                process.start()
        if time.monotonic() - shown >= PROGRESS_SECONDS:
            shown = time.monotonic()
            progress(passed, options.seconds, history, nemesis)
        time.sleep(0.05)
    ends.set()
    nemesis.relent()
    for client in clients:
        client.join(timeout=30)
    report.faults = nemesis.done
    report.wrongs += nemesis.wrongs
    report.wrongs += [f"{c.name}: ended by an error" for c in clients if not c.finished]
    report.requests = {v: history.count(v) for v in (OK, REFUSED, UNKNOWN)}
    return history


def progress(passed: float, seconds: float, history: History, nemesis: Nemesis) -> None:
    print(
        f"[{passed:4.0f}/{seconds:.0f} s] {history.count()} answers "
        f"({history.count(UNKNOWN)} unknown), {nemesis.done.total()} faults,"
        f" last: {nemesis.last}",
        flush=True,
    )


def settle(
    options: argparse.Namespace,
    this: system.System,
    history: History,
    report: Report,
) -> None:
    """Without faults everything must settle automatically, in time."""
    from django.db import connection

    from drills import books
    from drills.operators import Keeper

    connection.close()  # its server may be another one's than when it was opened
    for process in this.processes:
        process.thaw()
        if not process.alive:
            process.start()
    this.heal_bank()
    # What waits in frozen wallets is paid when their freezes end.
    Keeper(this.api.url, history, [], "end", threading.Event()).end_freezes()
    bare = options.bank in ("bare", "dedupes")
    print("no more faults; waiting for everything to be settled", flush=True)
    try:
        report.settled_after = wait_until(
            lambda: books.unsettled(review_is_rest=bare) == 0,
            seconds=SETTLE_SECONDS,
            what="withdrawals to be settled",
            poll=0.5,
        )
    except TimeoutError as error:
        report.wrongs.append(str(error))


def judge(
    options: argparse.Namespace,
    this: system.System,
    history: History,
    report: Report,
) -> None:
    """Compare the clients' history, the ledger, the bank's list, feed and receiver."""
    from drills import books, checker, deliveries

    lines = this.bank.payments()
    payments = [checker.payment_of(line) for line in lines]
    for process in [*this.payers, this.api]:
        process.kill()
    report.wrongs += wrongs(history, payments)
    report.payouts = len(payments)
    report.done = Counter(row.kind for row in books.rows())
    report.done.update(f"wallet {change.event}" for change in books.changes())
    report.lateness = books.lateness()
    if options.bank in ("bare", "dedupes"):
        report.reviews = books.review_all({p.reference for p in payments})
        report.wrongs += wrongs(history, payments)
    this.api.start()
    print("waiting for everything to arrive", flush=True)
    deliveries.arrive(this, report)
    deliveries.judge(this, report)


def wrongs(history: History, payments: Sequence[Payment]) -> list[str]:
    """Return what is wrong with the ledger, as the clients and the bank know it."""
    from drills import books, checker, checker_life

    intents, rows = history.intents, books.rows()
    keys = {row.key for row in rows}
    return [
        *books.own_wrongs(),
        *checker.wrongs(intents, rows, books.balances(), payments),
        *checker_life.wrongs(intents, books.changes(), keys, books.creations()),
    ]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

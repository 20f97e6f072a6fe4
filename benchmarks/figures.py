"""The measurements. Each alternates with the one that it is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Protocol

from django.db import connection
from django.db.models import QuerySet

from benchmarks import fill
from benchmarks.endpoints import Endpoint, endpoints, withdraw_at
from benchmarks.load import HttpClient, Load, drive
from benchmarks.sizes import Size
from benchmarks.stack import Api, cpu_of
from drills.process import Process, wait_until
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.payouts.claiming import find_due
from wallets.utils.database.transactions import database_now

# The most seconds until everything is paid; the memory figures need 100,000 payouts.
SECONDS_TO_PAY = 600
_OPEN = (Transaction.Status.PENDING, Transaction.Status.PROCESSING)

# The requests whose speed may depend on the length of the history.
HISTORY = ("deposit", "withdraw", "get_wallet", "get_transaction", "list", "statement")

Loads = dict[str, Load]
Say = Callable[[str, Load], None]


class Anchor(Protocol):
    """A measurement of the database alone, with the name of the measurement."""

    name: str

    def run(self, seconds: float) -> Load:
        """Measure it for this many seconds."""


@dataclass(frozen=True)
class Drain:
    """Payouts by a bank that takes `latency` seconds, `in_flight` calls at a time."""

    latency: float
    in_flight: int = 64
    # With the simulator of third-party/; else with the answerer, which is no limit.
    simulator: bool = False


DRAINS = {
    "drain_ceiling": Drain(latency=0),
    "drain_100ms": Drain(latency=0.1, simulator=True),
    "drain_512": Drain(latency=0.1, in_flight=512),
}


def requests(
    api: Api, names: Collection[str], anchor: Anchor, size: Size, say: Say
) -> Loads:
    """Measure the endpoints of these names, or all, and the database alone."""
    known = endpoints(size.wallets)
    asked = {name: known[name] for name in names or known}
    loads: Loads = {}
    for endpoint in asked.values():  # a warm-up: late imports, prepared statements
        endpoint.drive(api.port, requests=4 * endpoint.connections)
    # A machine's speed drifts. So the turns are short, and their order is reversed.
    order = list(asked)
    for _ in range(size.turns):
        add(loads, anchor.name, anchor.run(size.seconds), say)
        for name in order:
            add(loads, name, _measured(api, asked[name], size.seconds), say)
        order.reverse()
    return loads


def _measured(api: Api, endpoint: Endpoint, seconds: float) -> Load:
    """Measure an endpoint for this many seconds, with the API's CPU for it."""
    before = cpu_of(api.process)
    load = endpoint.drive(api.port, seconds=seconds)
    load.cpu = cpu_of(api.process) - before
    return load


def deposit(api: Api, size: Size, count: int) -> Load:
    """Make `count` deposits, each by a request of its own."""
    return endpoints(size.wallets)["deposit"].drive(api.port, requests=count)


def together(api: Api, size: Size, say: Say) -> Loads:
    """Measure deposits while the worker pays due withdrawals."""
    load = _measured(api, endpoints(size.wallets)["deposit"], 2 * size.seconds)
    say("deposit", load)
    _wait_until_paid(Transaction.objects.all())
    return {"deposit": load}


def _wait_until_paid(withdrawals: QuerySet[Transaction]) -> None:
    """Wait until no withdrawal is open; none may have failed.

    :raises TimeoutError: a withdrawal stays open.
    """
    wait_until(
        lambda: not withdrawals.filter(status__in=_OPEN).exists(),
        seconds=SECONDS_TO_PAY,
        what="all to be paid",
        poll=0.2,
    )
    assert not withdrawals.filter(status=Transaction.Status.FAILED).exists()


def drain(worker: Process, owners: list[Wallet], count: int) -> Load:
    """Measure `count` payouts by the worker, from the first claim on."""
    before = cpu_of(worker)
    when = fill.due(owners, count)
    mine = Transaction.objects.filter(scheduled_for=when)
    _wait_until_paid(mine)
    cpu = cpu_of(worker) - before
    assert mine.filter(status=Transaction.Status.COMPLETED).count() == count
    events = Transition.objects.filter(transaction__in=mine).exclude(sequence=0)
    times = list(events.order_by("created_at").values_list("created_at", flat=True))
    attempts = Attempt.objects.filter(transaction__in=mine)
    return Load(
        done=count,
        seconds=(times[-1] - times[0]).total_seconds(),
        cpu=cpu,
        latencies=[
            (attempt.closed_at - attempt.started_at).total_seconds()
            for attempt in attempts
            if attempt.closed_at is not None
        ],
    )


def lateness(api: Api, owners: list[Wallet], size: Size, say: Say) -> Loads:
    """Measure how late the payment of each scheduled withdrawal begins."""
    # Beyond the time that a tick looks ahead, so that Beat finds the withdrawals.
    first = datetime.now(timezone.utc) + timedelta(seconds=size.tick + 2)
    span = timedelta(seconds=size.late_seconds)
    times = [first + span * number / size.late for number in range(size.late)]
    names = [str(wallet.uuid) for wallet in owners]
    messages = (withdraw_at(names, when) for when in times)
    drive([HttpClient(api.port, 201) for _ in range(2)], messages)
    mine = Transaction.objects.filter(scheduled_for__range=(times[0], times[-1]))
    _wait_until_paid(mine)
    late = [
        (paid.executed_at - paid.scheduled_for).total_seconds()
        for paid in mine.filter(status=Transaction.Status.COMPLETED)
        if paid.executed_at is not None and paid.scheduled_for is not None
    ]
    assert len(late) == size.late
    load = Load(done=size.late, seconds=size.late_seconds, latencies=late)
    say("lateness", load)
    return {"lateness": load}


def history(
    apis: dict[str, Api], use: Callable[[str], None], size: Size, say: Say
) -> Loads:
    """Measure the same work with a short and a long history.

    `use` changes the database.
    """
    loads: Loads = {}
    asked = {}
    for length in apis:
        use(length)
        asked[length] = endpoints(size.wallets)
    for _ in range(size.turns):
        for length, api in apis.items():
            use(length)
            for name in HISTORY:
                load = _measured(api, asked[length][name], size.seconds / 2)
                add(loads, f"{name}_{length}", load, say)
            add(loads, f"due_{length}", _due_scan(size.seconds / 4), say)
    return loads


def _due_scan(seconds: float) -> Load:
    """Repeat a worker's query for due withdrawals when nothing is due."""
    load = Load()
    began = time.perf_counter()
    while (load.seconds or 0) < seconds:
        before = time.perf_counter()
        assert not list(find_due(database_now())[:64])
        load.latencies.append(time.perf_counter() - before)
        load.done += 1
        load.seconds = time.perf_counter() - began
    connection.close()
    return load


def add(loads: Loads, name: str, load: Load, say: Say) -> None:
    say(name, load)
    loads.setdefault(name, Load())
    loads[name] += load

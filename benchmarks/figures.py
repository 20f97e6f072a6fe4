"""What is measured: each beside what it is compared with, in turns."""

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
from wallets.services.payouts.drain import find_due
from wallets.utils.database.transactions import database_now

# As long as anything may take to be paid: 100,000 do for the figures of memory.
SECONDS_TO_PAY = 600
_OPEN = (Transaction.Status.PENDING, Transaction.Status.PROCESSING)

# What may depend on how long the past is.
HISTORY = ("deposit", "withdraw", "get_wallet", "get_transaction", "list", "statement")

Loads = dict[str, Load]
Say = Callable[[str, Load], None]


class Anchor(Protocol):
    """What the database does by itself. Its name is the measurement's."""

    name: str

    def run(self, seconds: float) -> Load:
        """Measure it for so many seconds."""


@dataclass(frozen=True)
class Drain:
    """Payouts by a bank that takes `latency` seconds, with so many calls in flight."""

    latency: float
    in_flight: int = 64
    # The one of third-party/; else the answerer, which is not the limit.
    simulator: bool = False


DRAINS = {
    "drain_ceiling": Drain(latency=0),
    "drain_100ms": Drain(latency=0.1, simulator=True),
    "drain_512": Drain(latency=0.1, in_flight=512),
}


def requests(
    api: Api, names: Collection[str], anchor: Anchor, size: Size, say: Say
) -> Loads:
    """The endpoints of these names, or all, and what the database does by itself."""
    known = endpoints(size.wallets)
    asked = {name: known[name] for name in names or known}
    loads: Loads = {}
    for endpoint in asked.values():  # what is loaded late, and statements to prepare
        endpoint.drive(api.port, requests=4 * endpoint.connections)
    # Short turns, and who goes first takes turns, too: a machine's speed drifts.
    order = list(asked)
    for _ in range(size.turns):
        add(loads, anchor.name, anchor.run(size.seconds), say)
        for name in order:
            add(loads, name, _measured(api, asked[name], size.seconds), say)
        order.reverse()
    return loads


def _measured(api: Api, endpoint: Endpoint, seconds: float) -> Load:
    """The endpoint for so many seconds, with the API's CPU for it."""
    before = cpu_of(api.process)
    load = endpoint.drive(api.port, seconds=seconds)
    load.cpu = cpu_of(api.process) - before
    return load


def deposit(api: Api, size: Size, count: int) -> Load:
    """So many deposits, one a request."""
    return endpoints(size.wallets)["deposit"].drive(api.port, requests=count)


def together(api: Api, size: Size, say: Say) -> Loads:
    """Deposits while the worker pays what is due."""
    load = _measured(api, endpoints(size.wallets)["deposit"], 2 * size.seconds)
    say("deposit", load)
    _wait_until_paid(Transaction.objects.all())
    return {"deposit": load}


def _wait_until_paid(withdrawals: QuerySet[Transaction]) -> None:
    """Wait until nothing is open; nothing may have failed.

    :raises TimeoutError: something stays open.
    """
    wait_until(
        lambda: not withdrawals.filter(status__in=_OPEN).exists(),
        seconds=SECONDS_TO_PAY,
        what="all to be paid",
        poll=0.2,
    )
    assert not withdrawals.filter(status=Transaction.Status.FAILED).exists()


def drain(worker: Process, owners: list[Wallet], count: int) -> Load:
    """Have so many paid by the worker; the clock runs from the first claim on."""
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
    """How long after its time each withdrawal is begun that a client has scheduled."""
    # Further away than a tick looks ahead, so that Beat finds them.
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
    """The same work with a short past and with a long one; `use` changes the database."""
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
    """What a worker asks when nothing is due, over and over."""
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

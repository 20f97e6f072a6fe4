"""The figures: each is measured next to what it is compared with, in several rounds."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import chain, repeat

from django.db import connection

from benchmarks import fill
from benchmarks.anchor import CLIENTS, Anchor
from benchmarks.load import Load, drive, http_get, http_post
from benchmarks.sizes import Size
from benchmarks.stack import IN_FLIGHT, Bank
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.services.payouts.drain import find_due
from wallets.utils.database.transactions import database_now

BULK = 100
# As many requests at once as there are processes to serve them, and as many to wait.
BULK_CONNECTIONS = 4
BANK_LATENCY = 0.1
CEILING = IN_FLIGHT / BANK_LATENCY
_OPEN = (Transaction.Status.PENDING, Transaction.Status.PROCESSING)

Loads = dict[str, Load]
Say = Callable[[str, Load], None]


def deposits(
    port: int, owners: list[Wallet], anchor: Anchor | None, size: Size, say: Say
) -> Loads:
    """Deposits onto many wallets, onto one, in bulk, and PostgreSQL's own."""
    names = [str(wallet.uuid) for wallet in owners]
    one = names[:1]
    loads: Loads = {}
    # Short turns, and who goes first takes turns, too: a machine's speed drifts.
    seconds = size.seconds / 2
    turns = [("deposit", names), ("deposit_hot", one)]
    for _ in range(2 * size.rounds):
        if anchor is not None:
            _add(loads, "pgbench", anchor.run(seconds), say)
        for name, onto in turns:
            load = drive(port, _deposits(onto), connections=CLIENTS, seconds=seconds)
            _add(loads, name, load, say)
        _add(loads, "deposit_bulk", _bulk(port, names, seconds), say)
        turns.reverse()
    return loads


def deposit(port: int, owners: list[Wallet], count: int) -> Load:
    """So many deposits, one a request, onto many wallets."""
    names = [str(wallet.uuid) for wallet in owners]
    return drive(port, _deposits(names), connections=CLIENTS, requests=count)


def _deposits(names: list[str]) -> Callable[[], bytes]:
    """Makes requests, each onto one of these wallets, with a key of its own."""

    def request() -> bytes:
        key = f"Idempotency-Key: {uuid.uuid4()}"
        path = f"/wallets/{random.choice(names)}/deposit"
        return http_post(path, b'{"amount": 1}', key)

    return request


def _bulk(port: int, names: list[str], seconds: float) -> Load:
    # Made before the clock runs; some more on the fly, if they should not suffice.
    ready = [_bulk_request(names) for _ in range(int(300 * seconds))]
    requests = chain(ready, (_bulk_request(names) for _ in repeat(None)))
    return drive(
        port,
        lambda: next(requests),
        connections=BULK_CONNECTIONS,
        seconds=seconds,
        items=lambda body: body.count(b'"result":"done"'),
    )


def _bulk_request(names: list[str]) -> bytes:
    items = [
        {"wallet": name, "amount": 1, "idempotency_key": str(uuid.uuid4())}
        for name in random.choices(names, k=BULK)
    ]
    return http_post("/deposits/", json.dumps(items).encode())


def drains(bank: Bank, owners: list[Wallet], size: Size, say: Say) -> Loads:
    """Due withdrawals with a slow bank and with a quick one, and the quick bank's own."""
    loads: Loads = {}
    for _ in range(size.rounds):
        bank.set_faults(latency=0, failure_rate=0)
        _add(loads, "bank", bank_alone(bank, size.seconds), say)
        _add(loads, "drain_instant", drain(owners, size.drain), say)
        bank.set_faults(latency=BANK_LATENCY)
        _add(loads, "drain_100ms", drain(owners, size.drain), say)
    return loads


def together(port: int, owners: list[Wallet], size: Size, say: Say) -> Loads:
    """Deposits while the worker pays what is due."""
    names = [str(wallet.uuid) for wallet in owners]
    load = drive(port, _deposits(names), connections=CLIENTS, seconds=size.seconds)
    say("deposit", load)
    while Transaction.objects.filter(status__in=_OPEN).exists():
        time.sleep(0.2)
    assert not Transaction.objects.filter(status=Transaction.Status.FAILED).exists()
    return {"deposit": load}


def bank_alone(bank: Bank, seconds: float) -> Load:
    """What the simulator answers to a load generator."""
    return drive(bank.port, _payment, connections=IN_FLIGHT, seconds=seconds)


def _payment() -> bytes:
    reference, wallet = uuid.uuid4(), uuid.uuid4()
    body = {"wallet_uuid": str(wallet), "amount": 1, "reference": str(reference)}
    key = f"Idempotency-Key: {reference}"
    return http_post("/", json.dumps(body).encode(), key)


def drain(owners: list[Wallet], count: int) -> Load:
    """Have so many paid by the worker; the clock runs from the first claim on."""
    when = fill.due(owners, count)
    mine = Transaction.objects.filter(scheduled_for=when)
    while mine.filter(status__in=_OPEN).exists():
        time.sleep(0.2)
    assert mine.filter(status=Transaction.Status.COMPLETED).count() == count
    events = Transition.objects.filter(transaction__in=mine).exclude(sequence=0)
    times = list(events.order_by("created_at").values_list("created_at", flat=True))
    attempts = Attempt.objects.filter(transaction__in=mine)
    return Load(
        done=count,
        seconds=(times[-1] - times[0]).total_seconds(),
        latencies=[
            (attempt.closed_at - attempt.started_at).total_seconds()
            for attempt in attempts
            if attempt.closed_at is not None
        ],
    )


def lateness(
    port: int, owners: list[Wallet], bank: Bank, size: Size, say: Say
) -> Loads:
    """How long after its time each withdrawal is begun that a client has scheduled."""
    bank.set_faults(latency=BANK_LATENCY, failure_rate=0)
    # Further away than a tick looks ahead, so that Beat finds them.
    first = datetime.now(timezone.utc) + timedelta(seconds=size.tick + 2)
    span = timedelta(seconds=size.late_seconds)
    times = [first + span * number / size.late for number in range(size.late)]
    left = iter(times)

    def schedule() -> bytes:
        body = json.dumps({"amount": 1, "scheduled_for": next(left).isoformat()})
        return http_post(
            f"/wallets/{random.choice(owners).uuid}/withdraw", body.encode()
        )

    drive(port, schedule, connections=2, requests=size.late)
    mine = Transaction.objects.filter(scheduled_for__range=(times[0], times[-1]))
    while mine.filter(status__in=_OPEN).exists():
        time.sleep(0.5)
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
    ports: dict[str, int], use: Callable[[str], None], size: Size, say: Say
) -> Loads:
    """The same work with a short past and with a long one; `use` changes the database."""
    loads: Loads = {}
    for _ in range(2 * size.rounds):
        for length, port in ports.items():
            use(length)
            names = [str(w.uuid) for w in Wallet.objects.order_by("pk")[: size.wallets]]
            big = f"/wallets/{names[0]}"
            requests: dict[str, Callable[[], bytes]] = {
                "deposit": _deposits(names),
                "list": repeat(http_get(f"{big}/transactions/")).__next__,
                "statement": repeat(http_get(f"{big}/statement/")).__next__,
            }
            for name, request in requests.items():
                load = drive(
                    port, request, connections=CLIENTS, seconds=size.seconds / 4
                )
                _add(loads, f"{name}_{length}", load, say)
            _add(loads, f"due_{length}", _due_scan(size.seconds / 8), say)
    return loads


def _due_scan(seconds: float) -> Load:
    """What a worker asks when nothing is due, over and over."""
    load = Load()
    began = time.perf_counter()
    while (load.seconds or 0) < seconds:
        before = time.perf_counter()
        assert not list(find_due(database_now())[:IN_FLIGHT])
        load.latencies.append(time.perf_counter() - before)
        load.done += 1
        load.seconds = time.perf_counter() - began
    connection.close()
    return load


def _add(loads: Loads, name: str, load: Load, say: Say) -> None:
    say(name, load)
    loads.setdefault(name, Load())
    loads[name] += load

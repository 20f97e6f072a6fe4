"""What is asked of the API: each endpoint's request, and what every answer must be."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain, islice, repeat

from django.db.models import Max, Min

from benchmarks.load import HttpClient, Load, drive, http_get, http_post
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet

# As many as pgbench has.
CONNECTIONS = 16
BULK = 100
# As many requests at once as there are processes to serve them, and as many to wait.
BULK_CONNECTIONS = 4
PAGE = 20


@dataclass(frozen=True)
class Endpoint:
    """A kind of request, over and over.

    `status`, `row`, `rows`: of every answer, see `HttpClient`. `worth`: how many things one
    request does. `ready`: how many requests are made before the clock runs, for a second.
    """

    request: Callable[[], bytes]
    status: int = 200
    connections: int = CONNECTIONS
    row: bytes = b""
    rows: int = 0
    worth: int = 1
    ready: int = 12_000

    def drive(self, port: int, *, seconds: float = 0, requests: int = 0) -> Load:
        """Ask for so many seconds, or so many times."""
        messages = self._messages(int(self.ready * seconds))
        clients = [
            HttpClient(port, self.status, self.row, self.rows)
            for _ in range(self.connections)
        ]
        if requests:
            return drive(clients, islice(messages, requests))
        return drive(clients, messages, seconds=seconds, worth=self.worth)

    def _messages(self, count: int) -> Iterator[bytes]:
        """Requests without end; so many are made before the first is asked for."""
        made = [self.request() for _ in range(count)]
        return chain(made, (self.request() for _ in repeat(None)))


def endpoints(count: int) -> dict[str, Endpoint]:
    """The endpoints by the names of their measurements, for what is in the database.

    So many wallets and transactions are asked for, at random. The first wallet is the one
    with a past: its list and its statement are read.
    """
    first = Wallet.objects.order_by("pk")[:count]
    wallets = [str(name) for name in first.values_list("uuid", flat=True)]
    transactions = [http_get(path) for path in _transactions(count)]
    listed, statement = (
        http_get(f"/wallets/{wallets[0]}/{what}/?limit={PAGE}")
        for what in ("transactions", "statement")
    )
    opened = http_post("/wallets/", b"{}")
    return {
        "deposit": Endpoint(lambda: deposit(wallets)),
        "deposit64": Endpoint(lambda: deposit(wallets), connections=64),
        "deposit_hot": Endpoint(lambda: deposit(wallets[1:2])),
        "withdraw": Endpoint(lambda: withdraw(wallets), 201),
        "get_wallet": Endpoint(lambda: http_get(f"/wallets/{random.choice(wallets)}/")),
        "get_transaction": Endpoint(lambda: random.choice(transactions)),
        "list": Endpoint(lambda: listed, row=b'"amount":', rows=PAGE),
        "statement": Endpoint(lambda: statement, row=b'"amount":', rows=PAGE),
        "create_wallet": Endpoint(lambda: opened, 201),
        "bulk": Endpoint(
            lambda: bulk(wallets),
            connections=BULK_CONNECTIONS,
            row=b'"result":"done"',
            rows=BULK,
            worth=BULK,
            ready=300,
        ),
    }


def _transactions(count: int) -> list[str]:
    """The paths of up to so many transactions, from all over the past."""
    ends = Transaction.objects.aggregate(first=Min("pk"), last=Max("pk"))
    numbers = range(ends["first"], ends["last"] + 1)
    some = random.sample(numbers, min(count, len(numbers)))
    found = Transaction.objects.filter(pk__in=some).values_list("wallet__uuid", "pk")
    return [f"/wallets/{owner}/transactions/{pk}/" for owner, pk in found]


def deposit(wallets: list[str]) -> bytes:
    """A deposit onto one of these, with a key of its own."""
    key = f"Idempotency-Key: {uuid.uuid4()}"
    path = f"/wallets/{random.choice(wallets)}/deposit"
    return http_post(path, b'{"amount": 1}', key)


def withdraw(wallets: list[str]) -> bytes:
    """A withdrawal from one of these, some time from tomorrow on, with a key."""
    seconds = random.randrange(86_400, 2 * 86_400)
    return withdraw_at(wallets, datetime.now(timezone.utc) + timedelta(0, seconds))


def withdraw_at(wallets: list[str], when: datetime) -> bytes:
    """A withdrawal from one of these at this time, with a key of its own."""
    key = f"Idempotency-Key: {uuid.uuid4()}"
    body = json.dumps({"amount": 1, "scheduled_for": when.isoformat()})
    path = f"/wallets/{random.choice(wallets)}/withdraw"
    return http_post(path, body.encode(), key)


def bulk(wallets: list[str]) -> bytes:
    """A hundred deposits, each onto one of these, with a key of its own."""
    items = [
        {"wallet": name, "amount": 1, "idempotency_key": str(uuid.uuid4())}
        for name in random.choices(wallets, k=BULK)
    ]
    return http_post("/deposits/", json.dumps(items).encode())

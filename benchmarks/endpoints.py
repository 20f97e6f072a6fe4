"""The requests to each endpoint of the API, and what every answer must contain."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import chain, islice, repeat

from django.db.models import Max, Min

from benchmarks.load import HttpClient, Load, drive, http_get, http_post
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import MAX_MANY, DepositRequest, deposit_many

# The same number as pgbench has.
CONNECTIONS = 16
BULK = 100
# The API's processes serve as many requests at a time, and as many others wait.
BULK_CONNECTIONS = 4
PAGE = 20


@dataclass(frozen=True)
class Endpoint:
    """A kind of request that is repeated.

    `status`, `row`, `rows` are of every answer: see `HttpClient`. `worth` is the number
    of things that one request does. `ready` is the number of requests that are prepared
    before the measurement, for each of its seconds.
    """

    request: Callable[[], bytes]
    status: int = 200
    connections: int = CONNECTIONS
    row: bytes = b""
    rows: int = 0
    worth: int = 1
    ready: int = 12_000

    def drive(self, port: int, *, seconds: float = 0, requests: int = 0) -> Load:
        """Send requests for this many seconds, or this many requests."""
        messages = self._messages(int(self.ready * seconds))
        clients = [
            HttpClient(port, self.status, self.row, self.rows)
            for _ in range(self.connections)
        ]
        if requests:
            return drive(clients, islice(messages, requests))
        return drive(clients, messages, seconds=seconds, worth=self.worth)

    def _messages(self, count: int) -> Iterator[bytes]:
        """Return endless requests, of which the first `count` are prepared now."""
        made = [self.request() for _ in range(count)]
        return chain(made, (self.request() for _ in repeat(None)))


def endpoints(count: int) -> dict[str, Endpoint]:
    """Return the endpoints by the names of their measurements.

    The requests name `count` wallets and transactions of the database, at random. The
    first wallet has a long history: its list and its statement are read.
    """
    first = Wallet.objects.order_by("pk")[:count]
    wallets = [str(name) for name in first.values_list("uuid", flat=True)]
    transactions = [http_get(path) for path in _transactions(count)]
    listed, statement = (
        http_get(f"/wallets/{wallets[0]}/{what}/?limit={PAGE}")
        for what in ("transactions", "statement")
    )
    opened = http_post("/wallets/", b"{}")
    payers, one = wallets[2:] or wallets, wallets[1:2]
    return {
        "deposit": Endpoint(lambda: deposit(wallets)),
        "deposit64": Endpoint(lambda: deposit(wallets), connections=64),
        "deposit_hot": Endpoint(lambda: deposit(wallets[1:2])),
        "transfer": Endpoint(lambda: transfer(payers, payers), 201),
        "transfer_hot": Endpoint(lambda: transfer(payers, one), 201),
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
        "transfer_bulk": Endpoint(
            lambda: bulk_transfers(payers),
            connections=BULK_CONNECTIONS,
            row=b'"result":"done"',
            rows=BULK,
            worth=BULK,
            ready=300,
        ),
    }


def _transactions(count: int) -> list[str]:
    """Return the paths of up to `count` transactions, evenly from all of the past."""
    ends = Transaction.objects.aggregate(first=Min("pk"), last=Max("pk"))
    numbers = range(ends["first"], ends["last"] + 1)
    some = random.sample(numbers, min(count, len(numbers)))
    found = Transaction.objects.filter(pk__in=some).values_list("wallet__uuid", "pk")
    return [f"/wallets/{owner}/transactions/{pk}/" for owner, pk in found]


def deposit(wallets: list[str]) -> bytes:
    """Return a deposit into one of these wallets, with a new key."""
    key = f"Idempotency-Key: {uuid.uuid4()}"
    path = f"/wallets/{random.choice(wallets)}/deposit"
    return http_post(path, b'{"amount": 1}', key)


def transfer(payers: list[str], payees: list[str]) -> bytes:
    """Return a transfer between two of these wallets, with a new key.

    The payers have the money: see `fund`.
    """
    fund(tuple(payers))
    key = f"Idempotency-Key: {uuid.uuid4()}"
    ends = {"from": random.choice(payers), "to": random.choice(payees)}
    while ends["from"] == ends["to"]:
        ends["to"] = random.choice(payees)
    body = json.dumps({**ends, "amount": 1})
    return http_post("/transfers/", body.encode(), key)


@cache
def fund(wallets: tuple[str, ...]) -> None:
    """Give each wallet money for as many transfers as a run can make, once."""
    items = [DepositRequest(name, 10**6, uuid.uuid4()) for name in wallets]
    for begin in range(0, len(items), MAX_MANY):
        deposit_many(items[begin : begin + MAX_MANY])


def withdraw(wallets: list[str]) -> bytes:
    """Return a withdrawal from one of these wallets, due in one to two days."""
    seconds = random.randrange(86_400, 2 * 86_400)
    return withdraw_at(wallets, datetime.now(timezone.utc) + timedelta(0, seconds))


def withdraw_at(wallets: list[str], when: datetime) -> bytes:
    """Return a withdrawal from one of these wallets at this time, with a new key."""
    key = f"Idempotency-Key: {uuid.uuid4()}"
    body = json.dumps({"amount": 1, "scheduled_for": when.isoformat()})
    path = f"/wallets/{random.choice(wallets)}/withdraw"
    return http_post(path, body.encode(), key)


def bulk(wallets: list[str]) -> bytes:
    """Return a request of BULK deposits into these wallets, each with a new key."""
    items = [
        {"wallet": name, "amount": 1, "idempotency_key": str(uuid.uuid4())}
        for name in random.choices(wallets, k=BULK)
    ]
    return http_post("/deposits/", json.dumps(items).encode())


def bulk_transfers(wallets: list[str]) -> bytes:
    """Return a request of BULK transfers between these wallets, each with a new key."""
    fund(tuple(wallets))
    items = []
    for _ in range(BULK):
        payer, payee = random.sample(wallets, 2)
        key = str(uuid.uuid4())
        item = {"from": payer, "to": payee, "amount": 1, "idempotency_key": key}
        items.append(item)
    return http_post("/transfers/", json.dumps(items).encode())

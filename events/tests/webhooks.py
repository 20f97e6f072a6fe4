"""Common code of the webhooks' tests: events, endpoints, and a fake of the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from django.test import override_settings
from standardwebhooks import Webhook

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services import sequencer
from events.services.webhooks import claim, courier, endpoints, record
from events.services.webhooks.courier import Courier
from events.services.webhooks.endpoints import Made
from events.utils.webhook_client import Reply
from wallets.models.wallet import Wallet
from wallets.tests.base import WalletTestCase
from wallets.utils import instants
from wallets.utils.database.transactions import database_now

OK = Reply(200, "thanks")
BROKEN = Reply(500, "no")
GONE = Reply(410, "gone")
SILENT = Reply(None, "no complete answer in time")

# The waits of the tests: four attempts.
WAITS = [10.0, 100.0, 1000.0]
quick = override_settings(
    WEBHOOK_ALLOW_HTTP=True,
    WEBHOOK_ALLOWED_NETWORKS=["127.0.0.0/8"],
    WEBHOOK_ALLOWED_PORTS=["any"],
    WEBHOOK_RETRIES=WAITS,
)


def make_events() -> None:
    """Give everything that has no event yet its place in the feed."""
    sequencer.catch_up()


@dataclass
class Got:
    """A webhook as a receiver gets it."""

    url: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def amount(self) -> int:
        return self.data["data"]["amount"]


Answer = Reply | Callable[[Got], Reply | None]


@dataclass
class FakeClient:
    """A client without a network: `answer` says what each receiver replies.

    An answer of None is not given yet: the call stays under way, in `held`.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    held: list[tuple[Got, Future[Reply]]] = field(default_factory=list)

    def send_later(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: str,
        *,
        send_before: float,
    ) -> Future[Reply]:
        one = Got(url, dict(headers), body)
        self.got.append(one)
        answer = self.answers.get(url, OK)
        reply = answer if isinstance(answer, Reply) else answer(one)
        future: Future[Reply] = Future()
        if reply is None:
            self.held.append((one, future))
        else:
            future.set_result(reply)
        return future

    def amounts(self, url: str = "") -> list[int]:
        """Return the amounts of the deposits in the order in which they came."""
        return [one.amount for one in self.got if url in ("", one.url)]


class Webhooks:
    """A mixin for the test cases of `wallets.tests.base`."""

    URL = "http://127.0.0.1:9/hook"

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        quick.enable()
        self.addCleanup(quick.disable)  # type: ignore[attr-defined]
        self.client_ = FakeClient()
        make_events()

    def endpoint(self, url: str = URL, **options: Any) -> Made:
        return endpoints.create(url=url, actor="client", **options)

    def pay_in(self, *amounts: int, wallet: Wallet | None = None) -> None:
        """Make a deposit and its event for each of these amounts."""
        for amount in amounts:
            self.deposit(amount, wallet)  # type: ignore[attr-defined]
        make_events()

    def deliver(self, *, after: float = 0, client: Any = None) -> int:
        """Deliver all that is due so many seconds from now; return how many."""
        if after:
            self.let_pass(after)
        courier = Courier(client or self.client_)
        total = 0
        while sent := courier.run_once():
            total += sent
        return total

    def let_pass(self, seconds: float) -> None:
        """Move all that is open to this much earlier, as if time had passed."""
        for row in Delivery.objects.filter(open=True):
            Delivery.objects.filter(pk=row.pk).update(
                due_at=row.due_at - timedelta(seconds=seconds),
                claimed_at=row.claimed_at
                and row.claimed_at - timedelta(seconds=seconds),
                created_at=row.created_at - timedelta(seconds=seconds),
                updated_at=row.updated_at - timedelta(seconds=seconds),
                last_attempts=row.last_attempts
                and [_earlier(kept, seconds) for kept in row.last_attempts],
            )

    @contextmanager
    def clock_ahead(self, seconds: float) -> Iterator[None]:
        """Let the database's clock be ahead for webhooks."""

        def ahead() -> datetime:
            return database_now() + timedelta(seconds=seconds)

        with ExitStack() as stack:
            for module in (claim, courier, endpoints, record):
                stack.enter_context(mock.patch.object(module, "database_now", ahead))
            yield

    def row(self, endpoint: Endpoint) -> Endpoint:
        return Endpoint.objects.get(pk=endpoint.pk)

    def verify(self, secret: str, got: Got) -> Any:
        return Webhook(secret).verify(got.body, got.headers)


def _earlier(kept: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return a kept attempt as if it had been made so many seconds earlier."""
    moved = {
        name: instants.write(instants.parse(kept[name]) - timedelta(seconds=seconds))
        for name in ("sent", "ended", "next")
        if name in kept
    }
    return kept | moved


class WebhookTestCase(Webhooks, WalletTestCase):
    """On one connection, with a fake client."""


def seconds_until(delivery: Delivery) -> float:
    """Return how far the next attempt is away, by the database's clock."""
    delivery.refresh_from_db()
    return (delivery.due_at - database_now()).total_seconds()

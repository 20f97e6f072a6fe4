"""A courier is killed at any moment: every event arrives, in the order of its wallet."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

from django.conf import settings
from django.db import connection

from drills import services
from drills.process import Process, wait_until
from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.tests.webhooks import Webhooks, make_events
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, database_environment
from wallets.tests.peers import Peer, response

SHORT = {
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "WEBHOOK_ALLOWED_PORTS": "any",
    "WEBHOOK_CONNECT_TIMEOUT": "1",
    "WEBHOOK_DEADLINE": "1.5",
    "WEBHOOK_LEASE": "3.5",
    "WEBHOOK_POLL": "0.1",
    "WEBHOOK_RETRIES": ",".join(["0.1"] * 50),
    "WEBHOOK_ENDPOINT_CONCURRENCY": "3",
}


@marks.slow
@marks.timeout(300)
class KilledCourierTest(Webhooks, CommittingTestCase):
    """The receiver kills whoever sends to it, before and after its answer; it also fails,
    hangs and lies."""

    AMOUNTS = list(range(1, 9))
    # At these requests the sender is killed: before the answer, or after it.
    BEFORE, AFTER = {2, 12}, {7, 17}
    # At these it fails, hangs until the deadline, or lies.
    FAILS, HANGS, LIES = {4, 9, 14, 19}, {5, 15}, {6, 10, 20}

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.wallets = [self.alice, self.bob, WalletService.create()]
        make_events()
        self.lock = threading.Lock()
        self.got: list[dict] = []
        self.answered: set[str] = set()
        self.broken: list[str] = []
        self.peer = Peer(self.receive)
        self.addCleanup(self.peer.stop)
        env = services.environment(
            {**database_environment(), **SHORT, "SECRET_KEY": settings.SECRET_KEY}
        )
        command = [sys.executable, "manage.py", "run_webhooks"]
        self.couriers = [
            Process(f"courier-{n}", command, env=env, log=self.folder / f"{n}.log")
            for n in (1, 2)
        ]
        self.addCleanup(self.end)

    def end(self) -> None:
        for courier in self.couriers:
            courier.kill()

    def receive(self, line) -> None:
        _, _, body = line.read_request().partition(b"\r\n\r\n")
        if not body:
            return
        event = json.loads(body)
        with self.lock:
            self.got.append(event)
            number = len(self.got)
            self.judge(event)
        if number in self.BEFORE:
            self.end()
            return
        if number in self.FAILS:
            line.send(response(b"no", status="500 Error"))
            return
        if number in self.HANGS:
            line.hang()
            return
        if number in self.LIES:  # half of an answer proves nothing
            line.send(response(b"ok")[:-1])
            return
        line.send(response(b"ok"))
        with self.lock:
            self.answered.add(event["id"])
        if number in self.AFTER:
            self.end()

    def judge(self, event: dict) -> None:
        """At each event, those before it of its wallet must have come already."""
        came = {
            one["data"]["amount"]
            for one in self.got
            if one["wallet"] == event["wallet"]
        }
        missing = set(range(1, event["data"]["amount"])) - came
        if missing:
            self.broken.append(f"{event['data']['amount']} before {missing}")

    def test_loses_no_event_and_no_order(self) -> None:
        self.endpoint(self.peer.url)
        for amount in self.AMOUNTS:
            for wallet in self.wallets:
                self.deposit(amount, wallet)
        make_events()
        connection.close()

        def all_there() -> bool:
            for courier in self.couriers:
                if not courier.alive:
                    courier.start()
            return not self.left()

        try:
            wait_until(all_there, seconds=200, what="all deliveries", poll=0.2)
        except TimeoutError as error:
            logs = [courier.log.read_text()[-2000:] for courier in self.couriers]
            raise AssertionError("\n".join([str(error), *logs])) from None
        self.end()
        self.assertEqual(self.broken, [])
        first: dict[str, list[int]] = defaultdict(list)
        seen = set()
        for event in self.got:
            if event["id"] not in seen:
                seen.add(event["id"])
                first[event["wallet"]].append(event["data"]["amount"])
        self.assertEqual(list(first.values()), [self.AMOUNTS] * len(self.wallets))
        self.assertGreaterEqual(len(self.got), max(self.BEFORE | self.AFTER))
        self.assertTrue(Endpoint.objects.get().enabled)

    def left(self) -> bool:
        """Whether something waits to be delivered."""
        rows = Delivery.objects.all()
        done = rows.filter(outcome="delivered").count()
        connection.close()
        return done < len(self.AMOUNTS) * len(self.wallets)

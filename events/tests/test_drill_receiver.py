"""The drill's receiver: what a courier takes for a success, the receiver has."""

from __future__ import annotations

import ipaddress
import json
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from django.test import SimpleTestCase

from drills import webhooks
from drills.receiver import FORBIDDEN_HOST, GONE, HOOKS, MODES, REFUSING, TAKING
from drills.webhooks import Receiver
from events.utils import signatures
from events.utils.addresses import Policy
from events.utils.webhook_client import Reply, WebhookClient
from wallets.tests.marks import slow
from wallets.utils import clock
from wallets.utils.database.transactions import database_now

DEADLINE = 1.5  # as in the drill
HOOK = HOOKS[0]


@slow
class DrillReceiverTest(SimpleTestCase):
    """Each of its answers, as the real client of webhooks takes it."""

    databases = {"default"}

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.receiver = Receiver(Path(folder.name))
        self.stored, secret = signatures.made()
        path = self.receiver.folder / "secrets.json"
        path.write_text(json.dumps({HOOK: [secret]}))
        self.addCleanup(self.receiver.kill)
        self.receiver.start()
        allowed = (ipaddress.ip_network("127.0.0.1/32"),)
        policy = Policy(allow_http=True, networks=allowed, ports=None)
        self.client_of_webhooks = WebhookClient(
            policy, deadline=DEADLINE, connect_timeout=1, size=8
        )

    def send(self, name: str, hook: str = HOOK) -> Future[Reply]:
        body = json.dumps({"id": name})
        headers = signatures.headers(name, body, [self.stored], now=database_now())
        return self.client_of_webhooks.send_later(
            f"{self.receiver.url}/{hook}",
            headers,
            body,
            send_before=clock.elapsed() + 60,
        )

    def lines(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.receiver.received() if line["what"] == what]

    def test_takes_what_counts_as_received(self) -> None:
        received = {}
        for mode in MODES:
            self.receiver.set_modes({HOOK: mode})
            received[mode] = self.send(mode).result(timeout=30).received
        taken = {line["id"] for line in self.lines("taken")}
        self.assertEqual(taken, set(TAKING))
        # An answer after the deadline does not count; it does no harm if it did.
        expected = {mode: mode in taken - {"late"} for mode in MODES}
        self.assertEqual(received, expected)
        self.assertLessEqual({*REFUSING, GONE}, received.keys() - taken)
        self.assertEqual(len(self.lines("seen")), len(MODES))

    def test_is_not_followed_to_a_forbidden_address(self) -> None:
        self.receiver.set_modes({HOOK: "redirect"})
        self.assertEqual(self.send("moved").result(timeout=30).status, 302)
        self.assertEqual(self.lines("trap"), [])
        webhooks.ask(f"http://{FORBIDDEN_HOST}:{self.receiver.port}", "GET", "/trap")
        self.assertEqual(len(self.lines("trap")), 1)  # it would have been seen

    def test_knows_a_wrong_signature(self) -> None:
        self.stored, _ = signatures.made()
        self.assertEqual(self.send("forged").result(timeout=30).status, 401)
        self.assertEqual(len(self.lines("forged")), 1)
        self.assertEqual(self.lines("seen"), [])

    def test_keeps_what_it_got_over_a_kill_and_is_healthy_after_it(self) -> None:
        self.receiver.set_modes({HOOK: "status 500"})
        self.assertFalse(self.send("one").result(timeout=30).received)
        self.receiver.kill()
        self.receiver.start()
        self.assertTrue(self.send("two").result(timeout=30).received)
        self.assertEqual([line["id"] for line in self.lines("seen")], ["one", "two"])

    def test_drops_a_line_that_a_kill_has_cut(self) -> None:
        """A kill can end a write in its middle; the courier then got no answer."""
        self.assertTrue(self.send("one").result(timeout=30).received)
        self.receiver.kill()
        with (self.receiver.folder / "received.jsonl").open("a") as file:
            file.write('{"what": "seen", "hook": "all", "at": 1, "event": {"id"')
        self.receiver.start()
        self.assertTrue(self.send("two").result(timeout=30).received)
        self.assertEqual([line["id"] for line in self.lines("seen")], ["one", "two"])

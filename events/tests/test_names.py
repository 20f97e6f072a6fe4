"""Looking up names: a name server that is dead stops no other look-up, and no endpoint."""

from __future__ import annotations

import asyncio
import socket
import threading
from unittest import mock

from django.test import SimpleTestCase

from events.errors import ResolverBusy
from events.models.delivery import Delivery
from events.services.webhooks import record, repeat
from events.tests.test_webhook_client import BODY, FOREVER, LOOPBACK
from events.tests.webhooks import Reply, WebhookTestCase, seconds_until
from events.utils import names, webhook_client
from events.utils.names import Names
from events.utils.webhook_client import WebhookClient

DEAD = "dead.example"


class Resolver:
    """The system's resolver, which hangs for names that begin with "dead"."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wakes = threading.Event()

    def __call__(self, host: str, port: None) -> list[tuple]:
        self.asked.append(host)
        if host.startswith("dead"):
            self.wakes.wait(60)
            raise socket.gaierror("no answer")
        return [(0, 0, 0, "", ("127.0.0.1", 0)), (0, 0, 0, "", ("127.0.0.1", 0))]


class NamesTest(SimpleTestCase):
    def setUp(self) -> None:
        self.resolver = Resolver()
        self.addCleanup(self.resolver.wakes.set)
        self.names = Names(2, self.resolver)

    def find(self, host: str, seconds: float = 30) -> list[str]:
        async def work() -> list[str]:
            return list(await asyncio.wait_for(self.names.find(host, 443), seconds))

        return asyncio.run(work())

    def give_up(self, host: str) -> None:
        """Ask for a name, and stop waiting for it."""
        with self.assertRaises(asyncio.TimeoutError):
            self.find(host, seconds=0.01)

    def test_are_found_by_the_system(self):
        self.assertEqual(self.find("shop.example"), ["127.0.0.1"])
        self.assertIn("127.0.0.1", asyncio.run(Names(1).find("localhost", 443)))
        with self.assertRaises(OSError):
            asyncio.run(Names(1).find("nowhere.invalid", 443))

    def test_are_asked_for_once_while_the_resolver_hangs(self):
        for _ in range(5):
            self.give_up(DEAD)
        self.assertEqual(self.resolver.asked, [DEAD])
        self.assertEqual(self.find("shop.example"), ["127.0.0.1"])

    def test_are_asked_for_again_after_an_answer(self):
        for _ in range(2):
            self.assertEqual(self.find("shop.example"), ["127.0.0.1"])
        self.assertEqual(self.resolver.asked, ["shop.example"] * 2)

    def test_are_refused_while_too_many_look_ups_are_not_finished(self):
        for number in range(2):
            self.give_up(f"dead{number}.example")
        with self.assertRaises(ResolverBusy):
            self.find("shop.example")
        self.assertEqual(len(self.resolver.asked), 2)
        self.resolver.wakes.set()
        for thread in threading.enumerate():
            if thread.name.startswith("name dead"):
                thread.join(30)
        self.assertEqual(self.find("shop.example"), ["127.0.0.1"])

    def test_keep_no_thread_of_the_process_alive(self):
        self.give_up(DEAD)
        (thread,) = [one for one in threading.enumerate() if DEAD in one.name]
        self.assertTrue(thread.daemon)


class BusyResolverTest(WebhookTestCase):
    """Our own resolver's trouble is no failure of the endpoint."""

    def setUp(self) -> None:
        super().setUp()
        self.resolver = Resolver()
        self.addCleanup(self.resolver.wakes.set)
        ours = mock.patch.object(webhook_client, "NAMES", Names(1, self.resolver))
        ours.start()
        self.addCleanup(ours.stop)

    def test_is_told_apart_by_the_client(self):
        client = WebhookClient(LOOPBACK, deadline=20, connect_timeout=0.05, size=4)
        replies = []
        for host in (DEAD, "shop.example"):
            call = client.send_later(f"http://{host}/", (), BODY, send_before=FOREVER)
            replies.append(call.result(60))
        self.assertEqual([one.ours for one in replies], [False, True])
        self.assertIn("not sent", replies[1].text)

    def test_delays_the_event_and_counts_nothing(self):
        hook = self.endpoint().endpoint
        self.client_.answers[self.URL] = Reply(None, "not sent: busy", ours=True)
        self.pay_in(1)
        Delivery.objects.all().delete()
        for _ in range(20):
            self.deliver(after=record.OURS_WAIT_SECONDS + 1)
        row = self.row(hook)
        self.assertEqual((row.enabled, row.failures_in_row), (True, 0))
        delivery = Delivery.objects.get()
        self.assertEqual(delivery.failures, 0)
        self.assertGreater(delivery.attempts, 5)
        self.assertLessEqual(seconds_until(delivery), record.OURS_WAIT_SECONDS)
        self.assertEqual(delivery.answer, "not sent: busy")
        self.client_.answers.clear()
        self.deliver(after=record.OURS_WAIT_SECONDS + 1)
        self.assertEqual(Delivery.objects.get().outcome, "delivered")

    def test_delays_a_test_event(self):
        hook = self.endpoint().endpoint
        self.client_.answers[self.URL] = Reply(None, "not sent: busy", ours=True)
        repeat.send_test(hook.uuid, actor="client")
        self.deliver()
        self.assertTrue(Delivery.objects.get().open)
        self.client_.answers.clear()
        self.deliver(after=record.OURS_WAIT_SECONDS + 1)
        self.assertEqual(Delivery.objects.get().outcome, "delivered")

    def test_is_the_limit_of_one_process(self):
        self.assertGreaterEqual(names.MOST_LOOK_UPS, 100)

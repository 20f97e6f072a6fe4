"""Names in the URLs of webhooks that take long to be looked up: whom they delay."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from typing import Any
from unittest import mock

from django.test import SimpleTestCase, override_settings

from events.errors import ResolverBusy
from events.tests.test_names import Resolver
from events.utils import names, webhook_client
from events.utils.names import Names, Turns
from wallets.asgi.application import WAITERS, Application
from wallets.tests import marks
from wallets.tests.tenants import use_callers_by_header

PATIENCE = 60
MANY = 2 * WAITERS
INSIDE = "https://10.0.0.1/"  # no name, and refused before the database is needed
WORKS = "https://shop.example/"  # its address is refused, too


@marks.slow
@override_settings(WEBHOOK_CONNECT_TIMEOUT=10 * PATIENCE, WEBHOOK_ALLOWED_NETWORKS=[])
class SlowNamesTest(SimpleTestCase):
    """The slow names of a tenant…"""

    def setUp(self) -> None:
        use_callers_by_header(self)
        self.resolver = Resolver()
        self.addCleanup(self.resolver.wakes.set)
        ours = mock.patch.object(webhook_client, "NAMES", Names(99, self.resolver))
        ours.start()
        self.addCleanup(ours.stop)
        self.application = Application(django=mock.Mock())
        self.addCleanup(self.end)

    def end(self) -> None:
        self.resolver.wakes.set()
        for pool in self.application._pools.values():
            pool.shutdown()

    async def ask(self, tenant: str, method: str, url: str) -> tuple[int, str, Any]:
        """Make or change a webhook; return status, code and Retry-After."""
        path = "/webhooks/" if method == "POST" else f"/webhooks/{uuid.uuid4()}/"
        body = [{"type": "http.request", "body": json.dumps({"url": url}).encode()}]
        said: list[Any] = []
        named = {
            "host": "localhost",
            "content-type": "application/json",
            "content-length": str(len(body[0]["body"])),
            "x-test-tenant": tenant,
        }
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in named.items()],
            "scheme": "http",
            "http_version": "1.1",
            "client": ("192.0.2.7", 1),
        }

        async def receive() -> Any:
            return body.pop()

        async def send(message: Any) -> None:
            said.append(message)

        await self.application(scope, receive, send)
        start, content = said
        headers = dict(start["headers"])
        code = json.loads(content["body"])["code"]
        return start["status"], code, headers.get(b"retry-after")

    def test_delay_no_other_tenant(self) -> None:
        async def work() -> None:
            for method in ("POST", "PATCH"):
                slow = [
                    asyncio.ensure_future(
                        self.ask("a", method, f"https://dead{n}.example/")
                    )
                    for n in range(MANY)
                ]
                for url in (INSIDE, WORKS):
                    answer = await asyncio.wait_for(
                        self.ask("b", method, url), PATIENCE
                    )
                    self.assertEqual(answer, (400, "webhook_url_refused", None))
                self.resolver.wakes.set()
                await asyncio.gather(*slow)
                self.resolver.wakes.clear()

        asyncio.run(work())

    def test_are_looked_up_one_at_a_time(self) -> None:
        """Whichever request names them. The others are told when to come again."""

        async def work() -> None:
            first = asyncio.ensure_future(self.ask("a", "POST", "https://dead.example"))
            while not self.resolver.asked:
                await asyncio.sleep(0.01)
            for method in ("POST", "PATCH"):
                answer = await self.ask("a", method, WORKS)
                self.assertEqual(answer, (503, "service_unavailable", b"1"))
                answer = await self.ask("a", method, INSIDE)
                self.assertEqual(answer[0], 400)
            self.assertEqual(self.resolver.asked, ["dead.example"])
            self.resolver.wakes.set()
            self.assertEqual((await first)[:2], (422, "webhook_url_unresolved"))
            self.assertEqual((await self.ask("a", "POST", WORKS))[0], 400)

        asyncio.run(work())

    def test_are_no_fault_of_a_name_that_finds_no_place(self) -> None:
        with mock.patch.object(webhook_client, "NAMES", Names(0, self.resolver)):
            answer = asyncio.run(self.ask("a", "POST", WORKS))
        self.assertEqual(answer, (503, "service_unavailable", b"1"))


class TurnsTest(SimpleTestCase):
    """The turn of a caller…"""

    def setUp(self) -> None:
        self.turns = Turns()

    def test_comes_after_a_name_that_is_found_soon(self) -> None:
        """Else two requests at the same moment would refuse each other."""
        taken, found = threading.Event(), threading.Event()

        def quick() -> None:
            with self.turns.of("a"):
                taken.set()
                found.wait(PATIENCE)

        thread = threading.Thread(target=quick)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(found.set)
        self.assertTrue(taken.wait(PATIENCE))
        threading.Timer(0.05, found.set).start()
        with mock.patch.object(names, "QUICK_SECONDS", PATIENCE), self.turns.of("a"):
            self.assertTrue(found.is_set())

    def test_is_not_waited_for_behind_a_slow_name(self) -> None:
        with mock.patch.object(names, "QUICK_SECONDS", 0.0), self.turns.of("a"):
            for _ in range(2):
                with self.assertRaises(ResolverBusy), self.turns.of("a"):
                    self.fail("it came")

    def test_ends_with_a_failure(self) -> None:
        for _ in range(2):
            with self.assertRaises(ZeroDivisionError), self.turns.of("a"):
                raise ZeroDivisionError

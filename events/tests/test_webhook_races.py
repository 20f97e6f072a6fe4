"""Several couriers at once, on real commits: nothing lost, order of each wallet kept."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from contextlib import suppress
from unittest import mock

from django.test import override_settings

from events.errors import TooManyWebhooks
from events.models.delivery import Delivery
from events.models.endpoint import Endpoint, Keep
from events.services import feed
from events.services.webhooks import claim, endpoints, repeat, rotation
from events.services.webhooks.courier import Courier
from events.services.webhooks.endpoints import Changes
from events.tests.webhooks import BROKEN, OK, FakeClient, Webhooks, make_events
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase
from wallets.tests.races import race


class Receivers(FakeClient):
    """Receivers of all endpoints; some calls fail, and some answers are lost."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._chance = chance

    def send_later(self, *args, **options):
        with self._lock:
            return super().send_later(*args, **options)

    def falter(self, got):
        return BROKEN if self._chance.random() < 0.2 else OK


class CourierRaceTest(Webhooks, CommittingTestCase):
    URLS = ("http://127.0.0.1:9/a", "http://127.0.0.1:9/b")

    def setUp(self) -> None:
        super().setUp()
        self.wallets = [self.alice, self.bob, WalletService.create()]
        make_events()
        self.receivers = Receivers(random.Random(11))
        for url in self.URLS:
            self.endpoint(url)
            self.receivers.answers[url] = self.receivers.falter

    def run_couriers(self, count: int) -> None:
        """Deliver with several couriers at once until nothing is left."""

        def work() -> None:
            courier = Courier(self.receivers)
            for _ in range(400):
                sent = courier.run_once()
                Delivery.objects.filter(
                    open=True, lease_token=None, failures__gt=0
                ).update(due_at=self.now, failures=0)
                if not sent and not Delivery.objects.filter(open=True).exists():
                    return

        self.assertEqual(race(*[work] * count), [None] * count)

    def first_of_each(self, url: str) -> dict[str, list[int]]:
        """Return the amounts by wallet, each where it came first."""
        seen: set[str] = set()
        found: dict[str, list[int]] = defaultdict(list)
        for got in self.receivers.got:
            if got.url == url and got.id not in seen:
                seen.add(got.id)
                found[got.data["wallet"]].append(got.amount)
        return found

    def test_delivers_all_in_the_order_of_each_wallet(self):
        for amount in range(1, 31):
            for wallet in self.wallets:
                self.deposit(amount, wallet)
        make_events()
        self.run_couriers(4)
        for url in self.URLS:
            found = self.first_of_each(url)
            self.assertEqual(len(found), len(self.wallets))
            for amounts in found.values():
                self.assertEqual(amounts, list(range(1, 31)))
        rows = Delivery.objects.all()
        self.assertEqual(rows.count(), 2 * 3 * 30)
        self.assertFalse(rows.exclude(outcome="delivered").exists())

    def test_never_sends_an_event_before_the_earlier_one_is_there(self):
        """At each sending, all earlier events of the wallet have been answered OK."""
        done: dict[tuple[str, str], int] = defaultdict(int)
        wrong: list[str] = []

        def judge(got):
            place = got.url, got.data["wallet"]
            if got.amount > done[place] + 1:
                wrong.append(f"{place}: {got.amount} after {done[place]}")
            reply = self.receivers.falter(got)
            if reply is OK:
                done[place] = max(done[place], got.amount)
            return reply

        for url in self.URLS:
            self.receivers.answers[url] = judge
        for amount in range(1, 21):
            for wallet in self.wallets:
                self.deposit(amount, wallet)
        make_events()
        self.run_couriers(4)
        self.assertEqual(wrong, [])
        self.assertEqual(set(done.values()), {20})

    def test_gives_a_delivery_to_one_of_two_couriers(self):
        self.pay_in(1)
        pk = Endpoint.objects.order_by("pk")[0].pk
        for _ in range(10):
            claims = race(*[lambda: claim.claim(pk, room=10)] * 4)
            self.assertEqual(sorted(len(one) for one in claims), [0, 0, 0, 1])
            self.let_pass(61)

    def test_survives_replays_switches_and_deletion_beside_it(self):
        first, second = Endpoint.objects.order_by("pk")
        for amount in range(1, 21):
            self.deposit(amount)
        make_events()
        start = first.position + 1

        def deliver() -> None:
            courier = Courier(self.receivers)
            for _ in range(60):
                courier.run_once()

        def interfere() -> None:
            for _ in range(10):
                repeat.replay(first.uuid, start, actor="oscar")
                endpoints.change(first.uuid, Changes(enabled=False), actor="oscar")
                rotation.rotate_secret(first.uuid, keep=Keep.OLD, actor="oscar")
                endpoints.change(first.uuid, Changes(enabled=True), actor="oscar")
            endpoints.delete(second.uuid, actor="oscar")

        self.assertEqual(race(deliver, deliver, interfere), [None] * 3)
        self.run_after(first)
        found = self.first_of_each(self.URLS[0])
        self.assertEqual(found[str(self.alice.uuid)], list(range(1, 21)))

    def run_after(self, endpoint: Endpoint) -> None:
        self.let_pass(10_000)
        self.receivers.answers.clear()
        endpoints.change(endpoint.uuid, Changes(enabled=True), actor="oscar")
        while self.deliver(client=self.receivers):
            self.let_pass(10_000)


@marks.slow
class RoomRaceTest(Webhooks, CommittingTestCase):
    @override_settings(WEBHOOK_MAX_ENDPOINTS=2)
    def test_of_two_at_the_same_moment_only_one_gets_the_last_place(self):
        self.endpoint(tenant="shop")
        both = threading.Barrier(2)
        real = feed.last_position

        def last_position() -> int:
            """Between count and row: wait for the other one, which should not come."""
            with suppress(threading.BrokenBarrierError):
                both.wait(2)
            return real()

        with mock.patch.object(endpoints.feed, "last_position", last_position):
            found = race(*[lambda: self.endpoint(tenant="shop")] * 2)
        refused = [isinstance(one, TooManyWebhooks) for one in found]
        self.assertEqual(sorted(refused), [False, True], found)
        self.assertEqual(Endpoint.objects.filter(tenant="shop").count(), 2)

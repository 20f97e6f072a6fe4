"""The calls of a courier: a webhook delays no other one, however many receivers hang."""

from __future__ import annotations

from unittest import mock

from django.test import SimpleTestCase, override_settings

from events.models.endpoint import Endpoint
from events.services.webhooks import claim, places
from events.services.webhooks.courier import Courier
from events.services.webhooks.places import SLOW_SECONDS, Places
from events.services.webhooks.planning import FAILS_AFTER
from events.tests.webhooks import BROKEN, SILENT, Webhooks, WebhookTestCase
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.base import WalletTestCase
from wallets.tests.peers import Peer, response
from wallets.utils import clock

HANGING = 20


def make_wallets(case, count=9):
    """Make wallets, and an event of each."""
    wallets = [WalletService.create() for _ in range(count)]
    for wallet in wallets:
        case.deposit(1, wallet)
    return wallets


@marks.slow
@override_settings(WEBHOOK_DEADLINE=300.0, WEBHOOK_LEASE=900.0)
class HangingReceiversTest(Webhooks, WalletTestCase):
    """Receivers that hang, and the real courier: one that works is served at once."""

    def setUp(self) -> None:
        super().setUp()

        def script(line):
            head = line.read_request()
            self.asked.append(head.split()[1].decode())
            if b"/hangs" in head.split(b"\r\n")[0]:
                line.hang()
            else:
                line.send(response(b"thanks"))

        self.asked: list[str] = []
        self.peer = Peer(script)
        self.addCleanup(self.peer.stop)
        self.courier = Courier()

    def hang(self, count: int) -> None:
        """Let so many receivers hang, each with the events of nine wallets."""
        for number in range(count):
            self.endpoint(
                f"{self.peer.url}/hangs/{number}", types=["deposit.completed"]
            )
        make_wallets(self)
        self.pay_in(1)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.courier._begin()
            self.courier._collect(0)

    def test_that_works_has_a_place_when_others_have_taken_all_they_may(self) -> None:
        self.hang(HANGING)
        self.turns(20)
        self.endpoint(f"{self.peer.url}/works", types=["deposit.completed"])
        self.pay_in(2)
        self.courier._begin()
        self.answered("/works")

    def test_that_works_has_a_place_in_the_turn_in_which_all_others_begin(self) -> None:
        self.endpoint(f"{self.peer.url}/works", types=["deposit.completed"])
        self.hang(HANGING)
        self.courier._turn = 0  # it is the last one that is served
        self.courier._begin()
        self.answered("/works")

    def answered(self, path: str) -> None:
        """Wait for the answer; it comes within the time of no deadline."""
        ends = clock.elapsed() + 60
        while not self.delivered(path) and clock.elapsed() < ends:
            self.courier._collect(1)
        self.assertTrue(self.delivered(path))

    def delivered(self, path: str) -> bool:
        hook = Endpoint.objects.get(url=self.peer.url + path)
        return hook.deliveries.filter(outcome="delivered").exists()


class CourierPlacesTest(WebhookTestCase):
    def hang(self, count: int) -> None:
        for number in range(count):
            url = f"http://127.0.0.1:9/hangs/{number}"
            self.endpoint(url, types=["deposit.completed"])
            self.client_.answers[url] = lambda _: None
        make_wallets(self)
        self.pay_in(1)

    @override_settings(WEBHOOK_CONCURRENCY=8, WEBHOOK_ENDPOINT_CONCURRENCY=4)
    def test_are_free_soon_after_more_endpoints_hang_than_there_are(self):
        self.hang(10)
        courier = Courier(self.client_)
        with mock.patch.object(places, "SLOW_SECONDS", 1e9):
            for _ in range(5):
                courier._begin()
        self.assertEqual(len(self.client_.held), 8)
        with mock.patch.object(places, "SLOW_SECONDS", -1.0):  # these have lasted long
            self.endpoint(types=["deposit.completed"])
            self.pay_in(2)
            courier._begin()
        self.assertEqual(self.client_.amounts(self.URL), [2])

    def test_are_one_for_an_endpoint_that_fails(self):
        hook = self.endpoint(types=["deposit.completed"]).endpoint
        make_wallets(self)
        self.pay_in(1)
        Endpoint.objects.update(failures_in_row=FAILS_AFTER)
        self.assertEqual(len(claim.claim(hook.pk, room=10)), 1)
        self.assertEqual(claim.claim(hook.pk, room=10), [])
        Endpoint.objects.update(failures_in_row=0)
        self.assertEqual(len(claim.claim(hook.pk, room=10)), 7)

    def test_are_many_again_when_it_works(self):
        hook = self.endpoint(types=["deposit.completed"]).endpoint
        self.client_.answers[self.URL] = BROKEN
        make_wallets(self)
        self.pay_in(1)
        self.deliver()
        self.assertGreaterEqual(self.row(hook).failures_in_row, FAILS_AFTER)
        self.client_.answers.clear()
        self.deliver(after=100)
        self.assertEqual(self.row(hook).failures_in_row, 0)
        self.assertFalse(hook.deliveries.filter(open=True).exists())

    def test_are_given_back_by_what_could_not_be_signed_or_sent(self):
        self.endpoint(types=["deposit.completed"])
        courier = Courier(self.client_)
        self.pay_in(1)
        with self.settings(SECRET_KEY="another one"):
            courier.run_once()
        with mock.patch.object(self.client_, "send_later", side_effect=ValueError):
            self.let_pass(61)
            courier.run_once()
        self.client_.answers[self.URL] = SILENT
        self.let_pass(61)
        courier.run_once()
        self.assertEqual(courier._places._calls, {})


class PlacesTest(SimpleTestCase):
    """Of eight places, two are kept for first calls."""

    def setUp(self) -> None:
        self.now = 100.0
        patched = mock.patch.object(clock, "elapsed", self.elapsed)
        patched.start()
        self.addCleanup(patched.stop)
        self.places = Places(8)

    def elapsed(self) -> float:
        return self.now

    def begin(self, endpoint: int, count: int) -> None:
        for number in range(count):
            self.places.begin((endpoint, number), endpoint)

    def room(self, endpoint: int, waiting: int = 1) -> int:
        return self.places.room(endpoint, waiting=waiting)

    def test_are_all_but_a_quarter_for_one_endpoint(self):
        self.assertEqual(self.room(1), 6)
        self.begin(1, 6)
        self.assertEqual(self.room(1), 0)
        self.assertEqual(self.room(2), 1)

    def test_are_shared_by_those_that_wait(self):
        self.assertEqual(self.room(1, waiting=3), 2)
        self.assertEqual(self.room(1, waiting=50), 1)

    def test_are_for_first_calls_down_to_the_last_one(self):
        for endpoint in range(1, 9):
            self.assertGreaterEqual(self.room(endpoint), 1)
            self.begin(endpoint, 1)
        self.assertEqual(self.room(9), 0)

    def test_are_free_again_when_a_call_is_slow(self):
        self.begin(1, 6)
        self.begin(2, 2)
        self.now += SLOW_SECONDS + 1
        self.assertEqual(self.room(3), 6)

    def test_are_taken_by_slow_calls_beyond_as_many_again(self):
        for endpoint in range(11):
            self.begin(endpoint, 1)
        self.now += SLOW_SECONDS + 1
        self.assertEqual(self.room(99), 3)  # eight, but three, but two
        self.begin(98, 5)
        self.assertEqual(self.room(99), 0)

    def test_are_one_for_an_endpoint_that_hangs(self):
        self.begin(1, 2)
        self.now += SLOW_SECONDS + 1
        self.assertEqual(self.room(1), 0)
        self.places.end((1, 0), received=False)
        self.assertEqual(self.room(1), 0)
        self.places.end((1, 1), received=False)
        self.assertEqual(self.room(1), 1)

    def test_are_many_for_an_endpoint_that_is_slow_and_works(self):
        self.begin(1, 1)
        self.now += SLOW_SECONDS + 1
        self.places.end((1, 0), received=True)
        self.assertEqual(self.room(1), 6)

    def test_are_many_for_an_endpoint_that_fails_quickly(self):
        self.begin(1, 1)
        self.places.end((1, 0), received=False)
        self.assertEqual(self.room(1), 6)

    def test_are_half_for_all_that_hang_together(self):
        for endpoint in range(1, 6):
            self.begin(endpoint, 1)
        self.now += SLOW_SECONDS + 1
        for endpoint in range(1, 6):
            self.places.end((endpoint, 0), received=False)
        for endpoint in range(1, 5):
            self.assertEqual(self.room(endpoint), 1)
            self.begin(endpoint, 1)
        self.assertEqual(self.room(5), 0)
        self.assertEqual(self.room(6), 2)

    def test_are_given_first_to_those_that_work(self):
        self.begin(1, 1)
        self.now += SLOW_SECONDS + 1
        turn = list(self.places.turn([1, 2, 3]))
        self.assertEqual(turn, [(2, 3), (3, 6)])
        self.places.end((1, 0), received=False)
        turn = list(self.places.turn([1, 2, 3]))
        self.assertEqual(turn, [(2, 3), (3, 6), (1, 1)])

    def test_are_timed_anew_by_each_call_of_a_lane(self):
        self.begin(1, 1)
        self.now += SLOW_SECONDS + 1
        self.begin(1, 1)
        self.assertEqual(self.room(1), 5)

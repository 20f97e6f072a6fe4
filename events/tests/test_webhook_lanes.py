"""The events of one wallet, sent one after the other by one claim."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.test import override_settings

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import claim
from events.services.webhooks.courier import Courier
from events.tests.webhooks import BROKEN, OK, WAITS, Got, WebhookTestCase
from events.utils.webhook_client import Reply
from wallets.utils.messaging import stopping


class LaneTest(WebhookTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.hook = self.endpoint(types=["deposit.completed"]).endpoint

    def claims(self) -> mock.Mock:
        """Count the claims that find something, from now on."""
        counted = mock.Mock(wraps=claim._lease)
        patched = mock.patch.object(claim, "_lease", counted)
        patched.start()
        self.addCleanup(patched.stop)
        return counted

    def left(self) -> list[tuple[int, int, bool, bool]]:
        """Return of each open delivery: amount, attempts, is it leased, was it sent."""
        rows = Delivery.objects.filter(open=True).order_by("sequence")
        return [
            (
                Got("", {}, row.body).amount,
                row.attempts,
                row.lease_token is not None,
                row.claimed_at is not None,
            )
            for row in rows
        ]

    def test_is_sent_in_order_by_a_few_claims(self):
        claims = self.claims()
        self.pay_in(*range(1, 301))
        self.assertEqual(self.deliver(), 300)
        self.assertEqual(self.client_.amounts(), list(range(1, 301)))
        self.assertLessEqual(claims.call_count, 8)
        rows = Delivery.objects.values_list("attempts", "outcome")
        self.assertEqual(set(rows), {(1, "delivered")})
        row = Delivery.objects.get(sequence=2)
        self.assertEqual([one["attempt"] for one in row.last_attempts], [1])

    def test_is_sent_on_without_another_look_at_the_database(self):
        """However long the claims of other webhooks take, a wallet goes on."""
        self.client_.answers[self.URL] = lambda _: None
        self.pay_in(1, 2, 3)
        courier = Courier(self.client_)
        courier._begin()
        with self.assertNumQueries(0):
            for sent in (1, 2, 3):
                self.assertEqual(len(self.client_.held), sent)
                self.client_.held[-1][1].set_result(OK)
        self.assertEqual(self.client_.amounts(), [1, 2, 3])
        courier._collect(0)
        self.assertEqual(self.left(), [])

    def test_stops_when_the_process_is_stopped(self):
        self.client_.answers[self.URL] = lambda _: None
        self.pay_in(1, 2, 3)
        courier = Courier(self.client_)
        courier._begin()
        with mock.patch.object(stopping, "wait", return_value=True):
            self.client_.held[0][1].set_result(OK)
            courier._finish()
        self.assertEqual(self.client_.amounts(), [1])
        self.assertEqual(self.left(), [(2, 0, False, False), (3, 0, False, False)])

    def test_stops_at_an_error_of_the_client_and_ends_nothing(self):
        self.pay_in(1, 2, 3)
        courier, send = Courier(self.client_), self.client_.send_later
        sent = mock.Mock(side_effect=[send, ValueError("no")])

        def send_later(*args: Any, **options: Any) -> Any:
            return sent()(*args, **options)

        with mock.patch.object(self.client_, "send_later", send_later):
            courier._begin()
        courier._collect(0)
        self.assertEqual(self.left()[0], (2, 1, False, True))
        self.deliver(after=WAITS[0] * 2)
        self.assertEqual(self.client_.amounts(), [1, 2, 3])

    def test_stops_at_the_first_event_that_is_not_received(self):
        def answer(got: Got) -> Reply:
            return BROKEN if got.amount == 3 else OK

        self.client_.answers[self.URL] = answer
        self.pay_in(1, 2, 3, 4, 5)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2, 3])
        # What was not sent looks as if nobody had claimed it.
        unsent = [(4, 0, False, False), (5, 0, False, False)]
        self.assertEqual(self.left(), [(3, 1, False, True), *unsent])
        self.client_.answers[self.URL] = OK
        self.deliver(after=WAITS[0] * 2)
        self.assertEqual(self.client_.amounts(), [1, 2, 3, 3, 4, 5])

    def test_stops_when_another_wallets_event_is_not_received(self):
        """The receiver may have asked for quiet, or be gone: only a claim looks."""
        self.client_.answers[self.URL] = lambda _: None
        self.pay_in(1, 2, 3)
        self.pay_in(10, wallet=self.bob)
        courier = Courier(self.client_)
        courier._begin()
        self.assertEqual(sorted(self.client_.amounts()), [1, 10])
        held = {got.amount: future for got, future in self.client_.held}
        held[10].set_result(Reply(429, "later", retry_after="600"))
        courier._collect(0.1)
        held[1].set_result(OK)
        self.assertEqual(sorted(self.client_.amounts()), [1, 10])
        courier._collect(0.1)
        self.assertEqual(courier.run_once(), 0)
        self.assertEqual(sorted(self.client_.amounts()), [1, 10])
        self.assertEqual(self.left()[0], (2, 0, False, False))

    def test_is_claimed_again_after_a_second(self):
        """A webhook that is changed or switched off is not sent to for long."""
        claims = self.claims()
        with mock.patch.object(claim, "LATER_SECONDS", -1.0):
            self.pay_in(1, 2, 3)
            self.assertEqual(self.deliver(), 3)
        self.assertEqual(self.client_.amounts(), [1, 2, 3])
        self.assertEqual(claims.call_count, 3)

    def test_is_sent_by_nobody_else_meanwhile(self):
        self.client_.answers[self.URL] = lambda _: None
        self.pay_in(1, 2, 3)
        Courier(self.client_)._begin()
        self.assertEqual(self.left(), [(1, 1, True, True), *self.leased(2, 3)])
        self.assertEqual(Courier(self.client_).run_once(), 0)

    def leased(self, *amounts: int) -> list[tuple[int, int, bool, bool]]:
        return [(amount, 0, True, True) for amount in amounts]

    @override_settings(WEBHOOK_ENDPOINT_CONCURRENCY=2)
    def test_has_one_place_however_many_wait_behind(self):
        for wallet in (self.alice, self.bob):
            self.pay_in(1, 2, 3, wallet=wallet)
        first, second = claim.claim(self.hook.pk, room=10)
        self.assertEqual([len(one.later) for one in (first, second)], [2, 2])
        self.assertEqual(claim.claim(self.hook.pk, room=10), [])
        self.let_pass(61)
        self.assertEqual(len(claim.claim(self.hook.pk, room=10)), 2)

    @override_settings(WEBHOOK_ENDPOINT_CONCURRENCY=2)
    def test_leaves_a_place_to_a_second_wallet(self):
        self.pay_in(1, 2, 3)
        self.assertEqual(len(claim.claim(self.hook.pk, room=10)), 1)
        self.pay_in(4, wallet=self.bob)
        (other,) = claim.claim(self.hook.pk, room=10)
        self.assertEqual(other.delivery.lane, str(self.bob.uuid))

    def test_is_signed_with_the_time_at_which_each_is_sent(self):
        self.pay_in(1, 2)
        (sending,) = claim.claim(Endpoint.objects.get().pk, room=1)
        with mock.patch.object(claim.clock, "elapsed", return_value=sending.at + 0.5):
            following = sending.following()
        assert following is not None
        self.assertEqual((following.now - sending.now).total_seconds(), 0.5)
        self.assertIsNone(following.following())

"""The database's clock steps while webhooks are planned, claimed and recorded."""

from __future__ import annotations

from unittest import mock

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import claim, record
from events.tests.webhooks import BROKEN, OK, WAITS, WebhookTestCase, seconds_until
from wallets.utils.database.transactions import database_now

YEAR = 365 * 86400.0


class ClockTest(WebhookTestCase):
    """A database's clock that steps delays nothing for long, and loses nothing."""

    def test_that_is_set_back_does_not_stop_retries(self):
        self.endpoint()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        self.client_.answers.clear()
        self.let_pass(-86400)  # what was planned lies a day in the future
        self.assertEqual(self.deliver(), 1)

    def test_that_is_set_back_does_not_keep_the_lease_of_a_killed_sender(self):
        self.endpoint()
        self.pay_in(1)
        claim.claim(Endpoint.objects.get().pk, room=10)
        self.let_pass(-86400)
        self.assertEqual(self.deliver(), 1)

    def test_that_is_set_forward_sends_twice_at_most(self):
        self.endpoint()
        self.pay_in(1)
        (sending,) = claim.claim(Endpoint.objects.get().pk, room=10)
        self.let_pass(86400)
        self.assertEqual(self.deliver(), 1)
        record.record([(sending, OK)])
        self.assertEqual(Delivery.objects.get().outcome, "delivered")

    def test_that_was_ahead_does_not_delay_what_was_planned_meanwhile(self):
        """All behind it in its wallet would wait for as long as the clock was ahead."""
        hook = self.endpoint().endpoint
        self.pay_in(1, 2)
        with self.clock_ahead(YEAR), mock.patch.object(claim, "_lease"):
            claim.claim(hook.pk, room=1)  # it plans both, and dies before it claims
        self.pay_in(3)
        self.assertEqual(self.deliver(), 3)
        self.assertEqual(self.client_.amounts(), [1, 2, 3])

    def test_that_was_ahead_does_not_delay_what_waits_behind_another_event(self):
        hook = self.endpoint().endpoint
        self.pay_in(1, 2, 3)
        with self.clock_ahead(YEAR), mock.patch.object(claim, "_lease"):
            claim.claim(hook.pk, room=1)
        (sending,) = claim.claim(hook.pk, room=1)
        self.assertEqual([row.sequence for row in sending.later], [2, 3])

    def test_that_was_ahead_at_a_failure_does_not_delay_the_next_attempt(self):
        hook = self.endpoint().endpoint
        self.pay_in(1)
        (sending,) = claim.claim(hook.pk, room=1)
        with self.clock_ahead(YEAR):
            record.record([(sending, BROKEN)])
        self.assertEqual(self.deliver(), 1)
        self.assertEqual(Delivery.objects.get().outcome, "delivered")

    def test_that_was_ahead_at_a_failure_does_not_delay_the_attempt_after_it(self):
        """What was planned then is no schedule to go back to."""
        hook = self.endpoint().endpoint
        self.pay_in(1)
        (sending,) = claim.claim(hook.pk, room=1)
        with self.clock_ahead(YEAR):
            record.record([(sending, BROKEN)])
        self.client_.answers[self.URL] = BROKEN
        self.assertEqual(self.deliver(), 1)
        self.assertLess(seconds_until(Delivery.objects.get()), 2 * WAITS[1])

    def test_that_was_ahead_at_a_claim_counts_nobody_as_under_way(self):
        hook = self.endpoint().endpoint
        self.pay_in(1)
        with self.clock_ahead(YEAR):
            claim.claim(hook.pk, room=1)
        row = self.row(hook)
        self.assertFalse(claim.under_way(row, database_now()).exists())

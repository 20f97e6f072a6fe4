"""A webhook that answers again, and one that refuses the events of some wallets only."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F

from events.models.delivery import Delivery
from events.services.webhooks import endpoints, planning, record, repeat, retries
from events.services.webhooks.endpoints import Changes
from events.tests.webhooks import (
    BROKEN,
    OK,
    SILENT,
    WAITS,
    WebhookTestCase,
    seconds_until,
)
from wallets.services.wallet import WalletService
from wallets.utils.database.transactions import database_now

HURRY = record.HURRY_WAIT.total_seconds()


class RecoveryTest(WebhookTestCase):
    """An endpoint that answers again after an outage gets at once what has waited."""

    def outage(self, wallets, *, ago):
        """Let an event of each wallet fail so long ago; the next attempt is far away."""
        self.endpoint(types=["deposit.completed"])
        self.client_.answers[self.URL] = SILENT
        for wallet in wallets:
            self.pay_in(1, wallet=wallet)
        self.deliver()
        self.let_pass(ago)
        Delivery.objects.update(due_at=database_now() + timedelta(hours=10))
        self.client_.answers.clear()
        self.client_.got.clear()

    def wallets(self, count=planning.FAILS_AFTER):
        return [WalletService.create() for _ in range(count)]

    def test_follows_the_first_success(self):
        wallets = self.wallets()
        self.outage(wallets, ago=HURRY)
        self.pay_in(2, wallet=self.bob)  # nothing else is due yet
        self.deliver()
        self.assertEqual(sorted(self.client_.amounts()), [1] * len(wallets) + [2])

    def test_follows_in_minutes_for_what_has_just_failed(self):
        wallets = self.wallets()
        self.outage(wallets, ago=HURRY / 2)
        self.pay_in(2, wallet=self.bob)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [2])
        self.deliver(after=HURRY)
        self.assertEqual(sorted(self.client_.amounts()), [1] * len(wallets) + [2])

    def test_is_none_if_only_some_events_fail(self):
        self.outage(self.wallets(planning.FAILS_AFTER - 1), ago=HURRY)
        self.pay_in(2, wallet=self.bob)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [2])


class PartlyFailingTest(WebhookTestCase):
    """The events of many wallets are refused, and those of another one received."""

    def setUp(self):
        super().setUp()
        self.hook = self.endpoint(types=["deposit.completed"]).endpoint
        self.client_.answers[self.URL] = lambda got: BROKEN if got.amount == 1 else OK
        for _ in range(planning.FAILS_AFTER + 1):
            self.pay_in(1, wallet=WalletService.create())
        self.deliver()

    def received(self, *, after=0):
        """Let time pass; then an event is received, after those that are due."""
        self.deliver(after=after)
        self.pay_in(2)
        self.deliver()

    def failures(self):
        """Return the failures of the refused ones; they must be the same."""
        (found,) = set(Delivery.objects.filter(open=True).values_list("failures"))
        return found[0]

    def test_is_not_tried_more_often_for_each_event_that_is_received(self):
        self.received(after=WAITS[0] * 2)
        before = len(self.client_.got)
        for _ in range(5):
            self.received()
        self.assertEqual(len(self.client_.got), before + 5)
        self.assertEqual(self.failures(), 2)

    def test_uses_up_no_attempt_of_its_schedule(self):
        """It is tried each five minutes; the third wait is longer."""
        found = []
        for _ in range(5):
            self.received(after=HURRY + 1)
            found.append(self.failures())
        self.assertEqual(found, [2, 3, 3, 3, 3])
        self.assertEqual(
            set(Delivery.objects.filter(open=True).values_list("attempts", flat=True)),
            {6},
        )
        self.assertTrue(self.row(self.hook).enabled)

    def test_is_switched_off_when_the_whole_schedule_is_over(self):
        passed = 0.0
        while self.row(self.hook).enabled:
            self.received(after=HURRY + 1)
            passed += HURRY + 1
        self.assertGreater(passed, sum(WAITS))
        self.assertLess(passed, sum(WAITS) * (1 + retries.JITTER) + 4 * HURRY)

    def test_goes_on_with_its_schedule_where_it_was(self):
        self.received(after=HURRY + 1)
        self.received(after=HURRY + 1)
        self.assertEqual(self.failures(), 3)
        self.received(after=HURRY + 1)
        delivery = Delivery.objects.filter(open=True).first()
        kept = delivery.last_attempts
        self.assertEqual(kept[0]["next"], kept[1]["next"])
        self.assertEqual(delivery.failures, 3)


class EarlyAttemptTest(WebhookTestCase):
    def setUp(self):
        super().setUp()
        self.hook = self.endpoint(types=["deposit.completed"]).endpoint
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        for wait in (0, *WAITS[:2]):
            self.deliver(after=wait * 2)

    def assert_waits(self, failures, least):
        delivery = Delivery.objects.get()
        self.assertEqual(delivery.failures, failures)
        left = seconds_until(delivery)
        self.assertGreater(left, least - 60)
        self.assertLess(left, least * (1 + retries.JITTER) + 60)

    def test_that_an_operator_asks_for_is_none_of_the_schedule(self):
        for _ in range(5):
            repeat.send_again(self.hook.uuid, 1, actor="oscar")
            self.assertEqual(self.deliver(), 1)
        self.assert_waits(3, WAITS[2])

    def test_waits_for_as_long_as_the_receiver_asks(self):
        self.client_.answers[self.URL] = BROKEN.__class__(500, "", retry_after="5000")
        repeat.send_again(self.hook.uuid, 1, actor="oscar")
        self.deliver()
        self.assert_waits(3, 5000)

    def test_is_the_first_one_after_a_switch_off_and_on(self):
        for enabled in (False, True):
            endpoints.change(self.hook.uuid, Changes(enabled=enabled), actor="oscar")
        self.deliver()
        self.assert_waits(1, WAITS[0])

    def test_counts_if_a_row_of_the_release_before_does_not_say_when_it_was_planned(
        self,
    ):
        Delivery.objects.update(last_attempts=None, due_at=F("created_at"))
        self.deliver()
        self.assertFalse(self.row(self.hook).enabled)

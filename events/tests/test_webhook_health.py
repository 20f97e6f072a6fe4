"""What /readyz, /metrics and `run_webhooks --check` say about webhooks."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from io import StringIO
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import (
    claim,
    endpoints,
    health,
    planning,
    record,
    repeat,
)
from events.services.webhooks.courier import Courier
from events.services.webhooks.endpoints import Changes
from events.tests.webhooks import BROKEN, GONE, OK, WAITS, WebhookTestCase
from wallets.services.wallet import WalletService
from wallets.utils.database.transactions import database_now


class HealthTest(WebhookTestCase):
    def look(self, *, after: float = 0) -> health.WebhookHealth:
        return health.look(database_now() + timedelta(seconds=after))

    def test_is_fine_without_webhooks_and_when_all_is_delivered(self):
        self.assertEqual(self.look(after=999), health.WebhookHealth(0.0, 0, 0, 0))
        self.endpoint()
        self.pay_in(1)
        self.deliver()
        self.assertEqual(self.look(after=999).trouble, "")

    def test_says_that_nobody_delivers(self):
        self.endpoint()
        self.pay_in(1)
        self.assertEqual(self.look().trouble, "")
        self.assertIn("not delivered", self.look(after=999).trouble)

    def test_does_not_blame_us_for_a_receiver_that_fails(self):
        self.endpoint()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1, 2)
        self.deliver()
        Endpoint.objects.update(failures_in_row=9)
        self.pay_in(3)
        found = self.look(after=999)
        self.assertEqual((found.trouble, found.failing, found.waiting), ("", 1, 2))

    def test_does_not_blame_us_for_a_receiver_that_asked_for_quiet(self):
        self.endpoint()
        self.pay_in(1)
        quiet = database_now() + timedelta(seconds=990)
        Endpoint.objects.update(quiet_until=quiet)
        self.assertEqual(self.look(after=980).trouble, "")
        self.assertEqual(self.look(after=999).trouble, "")  # it has just ended
        self.assertIn("not delivered", self.look(after=1100).trouble)

    def at(self, seconds):
        """Let services work so much later, by the database's clock."""
        now = database_now() + timedelta(seconds=seconds)
        stack = ExitStack()
        for module in (endpoints, claim):
            later = mock.patch.object(module, "database_now", return_value=now)
            stack.enter_context(later)
        return stack

    def slow(self):
        """Let a receiver be slow: as many calls as allowed are under way, one waits."""
        self.client_.answers[self.URL] = lambda _: None
        for wallet in (self.alice, self.bob, WalletService.create()):
            self.pay_in(1, wallet=wallet)
        Courier(self.client_)._begin()
        self.pay_in(2)

    @override_settings(WEBHOOK_ENDPOINT_CONCURRENCY=2, WEBHOOK_LEASE=5000.0)
    def test_does_not_blame_us_for_a_receiver_whose_places_are_full(self):
        self.endpoint(types=["deposit.completed"])
        self.slow()
        self.assertEqual(self.look(after=999).trouble, "")
        # Their leases have ended, so nobody is at work.
        self.assertIn("not delivered", self.look(after=5999).trouble)

    @override_settings(WEBHOOK_ENDPOINT_CONCURRENCY=2, WEBHOOK_LEASE=5000.0)
    def test_looks_at_each_webhook(self):
        """One that is slow hides no other one."""
        self.endpoint(types=["deposit.completed"])
        self.slow()
        self.endpoint("http://127.0.0.1:9/b")
        self.pay_in(5)
        self.assertIn("not delivered", self.look(after=999).trouble)

    def test_says_so_of_what_was_planned_and_claimed_before_the_courier_was_killed(
        self,
    ):
        hook = self.endpoint(types=["deposit.completed"]).endpoint
        self.pay_in(1, 2)
        claim.claim(hook.pk, room=1)
        self.assertEqual(self.look(after=50).trouble, "")
        lease = settings.WEBHOOK_LEASE
        self.assertEqual(self.look(after=lease + 50).trouble, "")
        trouble = self.look(after=lease + 100).trouble
        self.assertRegex(trouble, "^not delivered: .* for (9[0-9]|100) s")

    def test_says_so_of_a_next_attempt_that_nobody_makes(self):
        self.endpoint(types=["deposit.completed"])
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        self.assertEqual(self.look(after=WAITS[0]).trouble, "")
        self.assertIn("not delivered", self.look(after=WAITS[0] * 2 + 60).trouble)

    def test_does_not_blame_us_for_what_waits_behind_a_failed_event(self):
        self.endpoint(types=["deposit.completed"])
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1, 2)
        self.deliver()
        Delivery.objects.filter(failures=1).update(
            due_at=database_now() + timedelta(seconds=990)
        )
        self.assertEqual(self.look(after=980).trouble, "")

    @override_settings(WEBHOOK_LEASE=5000.0)
    def test_does_not_blame_us_while_other_wallets_are_served(self):
        """A receiver may need minutes for all wallets: each has its turn."""
        hook = self.endpoint(types=["deposit.completed"]).endpoint
        self.pay_in(1)
        self.pay_in(2, wallet=self.bob)
        (sending,) = claim.claim(hook.pk, room=1)
        self.assertEqual(self.look(after=999).trouble, "")
        with self.clock_ahead(940):
            record.record([(sending, OK)])
        self.assertEqual(self.look(after=980).trouble, "")
        self.assertIn("not delivered", self.look(after=1010).trouble)

    def test_does_not_blame_us_for_a_replay_of_old_events(self):
        hook = self.endpoint().endpoint
        self.pay_in(1)
        self.deliver()
        with self.at(900):
            repeat.replay(hook.uuid, 1, actor="oscar")
        self.assertEqual(self.look(after=930).trouble, "")
        self.assertIn("not delivered", self.look(after=970).trouble)

    def test_does_not_blame_us_for_the_time_in_which_it_was_off(self):
        hook = self.endpoint().endpoint
        endpoints.change(hook.uuid, Changes(enabled=False), actor="oscar")
        self.pay_in(1)
        with self.at(900):
            endpoints.change(hook.uuid, Changes(enabled=True), actor="oscar")
        self.assertEqual(self.look(after=930).trouble, "")
        self.assertIn("not delivered", self.look(after=970).trouble)

    def test_does_not_blame_us_while_its_place_moves(self):
        """A backlog of hours is planned page by page, as its receiver takes it."""
        hook = self.endpoint().endpoint
        self.pay_in(1, 2, 3)
        with self.at(900), mock.patch.object(planning, "PAGE", 1):
            claim.claim(hook.pk, room=1)
        self.let_pass(-999)
        self.assertEqual(self.look(after=930).trouble, "")
        self.assertIn("not delivered", self.look(after=970 + 999).trouble)

    def test_counts_what_the_service_has_switched_off(self):
        self.endpoint()
        self.client_.answers[self.URL] = GONE
        self.pay_in(1)
        self.deliver()
        self.assertEqual(self.look().switched_off, 1)

    def test_is_what_the_command_says(self):
        out = StringIO()
        call_command("run_webhooks", "--check", stdout=out)
        self.assertIn("Webhooks are delivered; 0 wait.", out.getvalue())
        self.endpoint()
        self.pay_in(1)
        with (
            mock.patch.object(health, "BEHIND_AFTER", -1.0),
            self.assertRaises(CommandError) as caught,
        ):
            call_command("run_webhooks", "--check", stdout=out)
        self.assertIn("not delivered", str(caught.exception))

"""What /readyz, /metrics and `run_webhooks --check` say about webhooks."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from unittest import mock

from django.core.management import call_command
from django.core.management.base import CommandError

from events.models.endpoint import Endpoint
from events.services.webhooks import health
from events.tests.webhooks import BROKEN, GONE, WebhookTestCase
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

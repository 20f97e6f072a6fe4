"""Late results: of calls to an earlier URL, or from before a webhook was switched on."""

from __future__ import annotations

from django.test import override_settings

from events.models.delivery import Delivery
from events.services.webhooks import claim, endpoints, record, repeat, switch
from events.services.webhooks.endpoints import Changes
from events.services.webhooks.planning import FAILS_AFTER
from events.tests.webhooks import (
    BROKEN,
    GONE,
    OK,
    SILENT,
    WAITS,
    WebhookTestCase,
    seconds_until,
)
from events.utils.webhook_client import Reply
from wallets.models.alarm import Alarm

BUSY = Reply(429, "busy", retry_after="600")


class LateResultTest(WebhookTestCase):
    """The result of a call from before the change says nothing about what is now."""

    def setUp(self) -> None:
        super().setUp()
        self.hook = self.endpoint(types=["deposit.completed"]).endpoint

    def planned(self) -> None:
        self.pay_in(1)
        claim.claim(self.hook.pk, room=1)
        self.let_pass(61)

    def moved(self) -> None:
        url = f"{self.row(self.hook).url}/new"
        endpoints.change(self.hook.uuid, Changes(url=url), actor="client")

    def off_and_on(self) -> None:
        for enabled in (False, True):
            endpoints.change(self.hook.uuid, Changes(enabled=enabled), actor="oscar")

    def replayed(self) -> None:
        repeat.replay(self.hook.uuid, 10**9, actor="oscar")

    def after_the_change(self, change, *, failures: int, reply: Reply) -> None:
        """Record a reply to a call from before the change."""
        Delivery.objects.all().delete()
        self.planned()
        Delivery.objects.update(failures=failures)
        (late,) = claim.claim(self.hook.pk, room=1)
        self.assertEqual(late.delivery.failures, failures)
        change()
        record.record([(late, reply)])

    def assert_begins_anew(self) -> None:
        row, delivery = self.row(self.hook), Delivery.objects.get()
        self.assertEqual((row.enabled, row.failures_in_row), (True, 0))
        self.assertIsNone(row.quiet_until)
        self.assertFalse(Alarm.objects.filter(kind=switch.SWITCHED_OFF).exists())
        self.assertEqual((delivery.failures, delivery.lease_token), (0, None))
        self.assertLessEqual(seconds_until(delivery), 0)
        # What was answered is still shown.
        self.assertNotEqual(delivery.last_attempts, None)

    def test_does_not_switch_off_what_begins_anew(self):
        for change in (self.moved, self.off_and_on, self.replayed):
            for reply in (BROKEN, SILENT, GONE, BUSY):
                with self.subTest(change=change.__name__, reply=reply):
                    failures = len(WAITS)
                    self.after_the_change(change, failures=failures, reply=reply)
                    self.assert_begins_anew()

    def test_does_not_delay_what_is_due_at_once(self):
        for change in (self.replayed, self.off_and_on, self.moved):
            with self.subTest(change=change.__name__):
                self.after_the_change(change, failures=1, reply=BROKEN)
                self.assert_begins_anew()
        self.deliver()
        self.assertEqual(self.client_.amounts(f"{self.URL}/new"), [1])

    @override_settings(SECRET_KEY="another one")
    def test_does_not_delay_what_could_not_be_signed_before(self):
        self.after_the_change(self.moved, failures=0, reply=None)
        self.assertLessEqual(seconds_until(Delivery.objects.get()), 0)

    def test_of_a_test_event_does_not_switch_off(self):
        for change in (self.moved, self.off_and_on):
            with self.subTest(change=change.__name__):
                Delivery.objects.all().delete()
                repeat.send_test(self.hook.uuid, actor="client")
                (late,) = claim.claim(self.hook.pk, room=1)
                change()
                record.record([(late, GONE)])
                self.assertTrue(self.row(self.hook).enabled)
                self.assertEqual(Delivery.objects.get().outcome, "failed")

    def test_is_no_success_of_the_new_url(self):
        """Else what has failed at the new URL would be sent at once."""
        self.planned()
        (late,) = claim.claim(self.hook.pk, room=1)
        self.moved()
        type(self.hook).objects.update(failures_in_row=FAILS_AFTER)
        record.record([(late, OK)])
        self.assertEqual(self.row(self.hook).failures_in_row, FAILS_AFTER)
        self.assertEqual(Delivery.objects.get().outcome, "delivered")

    def test_counts_if_nothing_was_changed_but_other_fields(self):
        self.planned()
        (sending,) = claim.claim(self.hook.pk, room=1)
        changes = Changes(url=self.URL, enabled=True, description="x")
        endpoints.change(self.hook.uuid, changes, actor="client")
        record.record([(sending, GONE)])
        self.assertFalse(self.row(self.hook).enabled)

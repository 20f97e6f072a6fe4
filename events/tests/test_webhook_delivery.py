"""Delivering: at least once, in the order of each wallet, with retries, to each endpoint."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from unittest import mock

from django.db import OperationalError

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint, Keep
from events.serializers.delivery import delivery_line
from events.services.webhooks import (
    claim,
    endpoints,
    history,
    planning,
    prune,
    record,
    repeat,
    retries,
    rotation,
    switch,
)
from events.services.webhooks import courier as courier_module
from events.services.webhooks.courier import Courier
from events.services.webhooks.endpoints import Changes
from events.tests.webhooks import (
    BROKEN,
    GONE,
    OK,
    SILENT,
    WAITS,
    WebhookTestCase,
    make_events,
    seconds_until,
)
from events.utils.webhook_client import Reply
from wallet import webhooks
from wallets.models.alarm import Alarm
from wallets.services.operations import alarm
from wallets.services.wallet import WalletService
from wallets.utils import instants
from wallets.utils.database.transactions import database_now


class DeliveryTest(WebhookTestCase):
    def test_brings_a_signed_event_to_an_endpoint(self):
        made = self.endpoint()
        self.pay_in(5)
        self.assertEqual(self.deliver(), 1)

        (got,) = self.client_.got
        event = self.verify(made.secret, got)
        self.assertEqual(
            list(event), ["id", "type", "timestamp", "position", "wallet", "data"]
        )
        self.assertEqual(event["id"], got.id)
        self.assertEqual(event["type"], "deposit.completed")
        self.assertEqual(event["wallet"], str(self.alice.uuid))
        self.assertEqual(event["data"]["amount"], 5)
        row = Delivery.objects.get()
        self.assertEqual((row.outcome, row.http_status), ("delivered", 200))
        self.assertEqual((row.answer, row.attempts), ("thanks", 1))
        self.assertIsNone(row.lease_token)
        self.assertEqual(self.deliver(), 0)

    def test_brings_each_event_once_while_all_goes_well(self):
        self.endpoint()
        self.pay_in(*range(1, 301))
        self.assertEqual(self.deliver(), 300)
        self.assertEqual(self.client_.amounts(), list(range(1, 301)))
        self.assertEqual(len({one.id for one in self.client_.got}), 300)

    def test_begins_with_the_events_after_the_endpoint_was_made(self):
        self.pay_in(1)
        self.endpoint()
        self.pay_in(2)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [2])

    def test_brings_only_the_wanted_types(self):
        wanted = self.endpoint(types=["deposit.completed"]).endpoint
        other = self.endpoint("http://127.0.0.1:9/b", types=["wallet.created"]).endpoint
        self.pay_in(5)
        self.deliver()
        self.assertEqual([one.url for one in self.client_.got], [self.URL])
        # What it does not want, it does not read again.
        self.assertEqual(self.row(other).position, self.row(wanted).position)

    def test_goes_on_with_what_is_planned_before_a_damaged_event(self):
        """One damaged row ended the courier, and each restart met it again."""
        self.endpoint()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        Delivery.objects.update(due_at=database_now())
        self.client_.answers[self.URL] = OK
        self.pay_in(2)
        with (
            mock.patch.object(claim, "plan", side_effect=ValueError("damaged")),
            self.assertLogs("events.services.webhooks.courier", "ERROR"),
        ):
            self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 1])
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 1, 2])

    def test_does_not_end_with_a_result_that_cannot_be_recorded(self):
        self.endpoint()
        self.pay_in(1)
        with (
            mock.patch.object(record, "record", side_effect=LookupError("damaged")),
            self.assertLogs("events.services.webhooks.courier", "ERROR"),
        ):
            self.deliver()
        self.assertTrue(Delivery.objects.get().open)

    def test_goes_to_each_endpoint_on_its_own(self):
        self.endpoint("http://127.0.0.1:9/a")
        self.endpoint("http://127.0.0.1:9/b")
        self.client_.answers["http://127.0.0.1:9/a"] = SILENT
        self.pay_in(1, 2, 3)
        self.deliver()
        self.assertEqual(self.client_.amounts("http://127.0.0.1:9/a"), [1])
        self.assertEqual(self.client_.amounts("http://127.0.0.1:9/b"), [1, 2, 3])

    def test_has_places_for_others_beside_an_endpoint_that_hangs(self):
        self.endpoint("http://127.0.0.1:9/a", types=["deposit.completed"])
        self.endpoint("http://127.0.0.1:9/b", types=["deposit.completed"])
        self.client_.answers["http://127.0.0.1:9/a"] = lambda _: None
        wallets = [self.alice, self.bob, *(self.new_wallet() for _ in range(20))]
        for wallet in wallets:
            self.pay_in(1, wallet=wallet)
        courier = Courier(self.client_)
        with self.settings(WEBHOOK_ENDPOINT_CONCURRENCY=3):
            for _ in range(20):
                courier._begin()
                courier._collect(0.001)
        self.assertEqual(len(self.client_.held), 3)
        self.assertEqual(len(self.client_.amounts("http://127.0.0.1:9/b")), 22)

    def new_wallet(self):
        return WalletService.create()


class OrderTest(WebhookTestCase):
    """The order of each wallet, whatever fails."""

    def test_is_kept_while_an_event_fails(self):
        self.endpoint()
        replies = itertools.chain([BROKEN, SILENT], itertools.repeat(OK))
        self.client_.answers[self.URL] = lambda _: next(replies)
        self.pay_in(1, 2, 3)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1])
        self.deliver(after=WAITS[0] * 2)
        self.assertEqual(self.client_.amounts(), [1, 1])
        self.deliver(after=WAITS[1] * 2)
        self.assertEqual(self.client_.amounts(), [1, 1, 1, 2, 3])
        self.assertEqual(len({one.id for one in self.client_.got[:3]}), 1)

    def test_holds_up_no_other_wallet(self):
        self.endpoint()
        self.client_.answers[self.URL] = lambda got: BROKEN if got.amount == 1 else OK
        self.pay_in(1, 2)
        self.pay_in(11, 12, 13, wallet=self.bob)
        self.deliver()
        self.assertEqual(sorted(self.client_.amounts()), [1, 11, 12, 13])

    def test_holds_up_no_other_wallet_however_much_waits(self):
        self.endpoint()
        self.client_.answers[self.URL] = lambda got: BROKEN if got.amount == 1 else OK
        self.pay_in(1, *range(2, 40))
        self.pay_in(*range(101, 111), wallet=self.bob)
        few_at_a_time = mock.patch.object(planning, "PAGE", 3)
        with self.settings(WEBHOOK_WINDOW=10), few_at_a_time:
            for _ in range(10):
                self.deliver()
        self.assertEqual(self.client_.amounts()[1:], list(range(101, 111)))

    def test_is_kept_while_an_event_is_under_way(self):
        self.endpoint()
        self.client_.answers[self.URL] = lambda _: None
        self.pay_in(1, 2)
        Courier(self.client_)._begin()
        self.assertEqual(self.deliver(), 0)  # another courier finds nothing to do
        self.assertEqual(self.client_.amounts(), [1])

    def test_is_kept_after_a_kill_between_claim_and_record(self):
        """The lease ends, and the same event goes first again, with the same id."""
        self.endpoint()
        self.pay_in(1, 2)
        for kills in range(3):
            claimed = claim.claim(Endpoint.objects.get().pk, room=10)
            self.assertEqual(len(claimed), 1)
            self.assertEqual(claimed[0].delivery.sequence, 1)
            self.assertEqual(self.deliver(), 0)
            self.let_pass(61)
            self.assertEqual(claimed[0].delivery.failures, 0, kills)
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2])
        self.assertEqual(Delivery.objects.get(sequence=1).attempts, 4)

    def test_is_kept_when_a_sender_comes_back_after_its_lease(self):
        self.endpoint()
        self.pay_in(1, 2)
        pk = Endpoint.objects.get().pk
        (late,) = claim.claim(pk, room=10)
        self.let_pass(61)
        (second,) = claim.claim(pk, room=10)
        record.record([(late, BROKEN)])  # it lost the right to say so
        self.assertEqual(Delivery.objects.get(sequence=1).failures, 0)
        record.record([(second, OK)])
        record.record([(late, BROKEN)])
        self.assertEqual(Delivery.objects.get(sequence=1).outcome, "delivered")


class RetryTest(WebhookTestCase):
    def test_comes_after_the_waits_of_the_standard(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        for wait in WAITS:
            self.assertEqual(self.deliver(), 1)
            left = seconds_until(Delivery.objects.get())
            self.assertGreater(left, wait - 5)
            self.assertLess(left, wait * (1 + retries.JITTER) + 5)
            self.assertEqual(self.deliver(), 0)
            self.let_pass(wait * 2)
        self.assertEqual(self.deliver(), 1)
        self.assertFalse(self.row(endpoint).enabled)

    def test_waits_longer_if_the_receiver_asks_for_it(self):
        self.endpoint()
        self.client_.answers[self.URL] = Reply(503, "busy", retry_after="4000")
        self.pay_in(1)
        self.deliver()
        self.assertGreater(seconds_until(Delivery.objects.get()), 3900)

    def test_switches_the_endpoint_off_after_the_last_one(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1, 2)
        for wait in (0, *WAITS):
            self.deliver(after=wait * 2)
        row = self.row(endpoint)
        self.assertEqual((row.enabled, row.off_because), (False, "failing"))
        alarm = Alarm.objects.get(kind=switch.SWITCHED_OFF)
        self.assertIn(str(endpoint.uuid), alarm.subject)
        self.assertIn("500", alarm.detail)
        self.assertEqual(self.deliver(after=10**6), 0)

        self.client_.answers.clear()
        self.pay_in(3)
        endpoints.change(endpoint.uuid, Changes(enabled=True), actor="oscar")
        self.deliver()
        self.assertEqual(self.client_.amounts()[-3:], [1, 2, 3])
        alarm.refresh_from_db()
        self.assertEqual(alarm.acknowledged_by, "oscar")

    def test_is_not_made_after_410(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = GONE
        self.pay_in(1)
        self.deliver()
        row = self.row(endpoint)
        self.assertEqual((row.enabled, row.off_because), (False, "gone"))
        alarm = Alarm.objects.get(kind=switch.SWITCHED_OFF)
        self.assertIn("410: gone", alarm.detail)

    def test_is_not_made_after_410_to_a_test_event(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = GONE
        repeat.send_test(endpoint.uuid, actor="client")
        self.deliver()
        row = self.row(endpoint)
        self.assertEqual((row.enabled, row.off_because), (False, "gone"))
        self.assertEqual(Delivery.objects.get().outcome, "failed")

    def test_is_an_alarm_each_time_that_the_endpoint_is_switched_off(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = GONE
        self.pay_in(1)
        for count in (1, 2, 3):
            self.deliver()
            alarms = Alarm.objects.filter(kind=switch.SWITCHED_OFF)
            self.assertEqual(alarms.count(), count)
            endpoints.change(endpoint.uuid, Changes(enabled=True), actor="oscar")

    def test_is_bounded_in_open_deliveries_while_the_endpoint_fails(self):
        self.endpoint()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(*range(1, 30))
        with self.settings(WEBHOOK_WINDOW=10):
            for _ in range(planning.FAILS_AFTER):
                self.deliver()
                Delivery.objects.update(failures=0, due_at=database_now())
            before = Delivery.objects.count()
            self.pay_in(*range(30, 60))
            self.deliver()
        self.assertEqual(Delivery.objects.count(), before)


class ScheduleTest(WebhookTestCase):
    def wait(self, failures, retry_after="", chance=0.0):
        return retries.next_wait(
            failures,
            WAITS,
            retry_after=retry_after,
            now=self.now,
            chance=lambda: chance,
        )

    def test_is_the_list_of_waits(self):
        self.assertEqual([self.wait(n) for n in (1, 2, 3, 4)], [*WAITS, None])
        self.assertEqual(self.wait(1, chance=1.0), WAITS[0] * (1 + retries.JITTER))

    def test_is_lengthened_and_never_shortened_by_the_receiver(self):
        for asked, wait in (
            ("3600", 3600),
            ("1", WAITS[0]),
            ("999999999", retries.MAX_RETRY_AFTER),
            ("-5", WAITS[0]),
            ("soon", WAITS[0]),
            ("\u0665", WAITS[0]),
            ("1e9", WAITS[0]),
            ("Fri, 31 Dec 9999 23:59:59 GMT", retries.MAX_RETRY_AFTER),
            ("Fri, 31 Dec 1999 23:59:59 GMT", WAITS[0]),
            ("Fri, 99 Dec 1999 23:59:59 GMT", WAITS[0]),
            ("1" * 5000, WAITS[0]),
        ):
            with self.subTest(asked=asked):
                self.assertEqual(self.wait(1, asked), wait)

    def test_has_the_attempts_of_the_standard_by_default(self):
        self.assertEqual(
            webhooks.WEBHOOK_RETRIES,
            [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400],
        )


class LastAttemptsTest(WebhookTestCase):
    """The last attempts of a delivery, with what was answered."""

    def test_are_kept_newest_first_with_answers_and_times(self):
        self.endpoint()
        replies = iter([BROKEN, SILENT, OK])
        self.client_.answers[self.URL] = lambda _: next(replies)
        self.pay_in(1)
        for wait in (0, *WAITS[:2]):
            self.deliver(after=wait * 2)
        kept = Delivery.objects.get().last_attempts
        self.assertEqual(
            [(one["attempt"], one["status"], one["answer"]) for one in kept],
            [(3, 200, OK.text), (2, None, SILENT.text), (1, 500, BROKEN.text)],
        )
        for one in kept:
            sent, ended = (instants.parse(one[name]) for name in ("sent", "ended"))
            self.assertLessEqual(sent, ended)
            self.assertLess((database_now() - ended).total_seconds(), 300)

    def test_are_few_and_short_however_often_and_much_is_answered(self):
        self.endpoint()
        self.client_.answers[self.URL] = Reply(500, "\u20ac" * 1000)
        self.pay_in(1)
        with self.settings(WEBHOOK_RETRIES=[1.0] * 20):
            for _ in range(12):
                self.deliver(after=10)
        row = Delivery.objects.get()
        self.assertEqual(row.attempts, 12)
        numbers = [one["attempt"] for one in row.last_attempts]
        self.assertEqual(numbers, [12, 11, 10, 9, 8])
        self.assertLessEqual(len(json.dumps(row.last_attempts)), 10_000)
        self.assertEqual(len(row.answer), 1000)

    def test_have_no_place_for_one_that_nobody_heard_of(self):
        """Its sender was killed; the next one has the next number."""
        endpoint = self.endpoint().endpoint
        self.pay_in(1)
        claim.claim(endpoint.pk, room=1)
        self.deliver(after=61)
        (kept,) = Delivery.objects.get().last_attempts
        self.assertEqual(kept["attempt"], 2)

    def test_have_no_place_for_what_came_after_the_lease(self):
        endpoint = self.endpoint().endpoint
        self.pay_in(1)
        (late,) = claim.claim(endpoint.pk, room=1)
        self.deliver(after=61)
        record.record([(late, BROKEN)])
        self.assertEqual(len(Delivery.objects.get().last_attempts), 1)

    def test_say_that_nothing_could_be_signed(self):
        self.endpoint()
        self.pay_in(1)
        with self.settings(SECRET_KEY="another one"):
            self.deliver()
        (kept,) = Delivery.objects.get().last_attempts
        self.assertEqual((kept["status"], kept["answer"]), (None, "not signed"))

    def test_are_none_in_a_row_of_the_release_before(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(1)
        self.deliver()
        Delivery.objects.update(last_attempts=None)
        (shown,) = history.shown(endpoint, [Delivery.objects.get()])
        self.assertEqual(delivery_line(shown)["last_attempts"], [])
        self.deliver(after=WAITS[0] * 2)
        self.assertEqual(len(Delivery.objects.get().last_attempts), 1)


class BusyReceiverTest(WebhookTestCase):
    """A receiver that answers 429 or 503 with Retry-After gets nothing until then."""

    def answered(self, status, retry_after):
        endpoint = self.endpoint(types=["deposit.completed"]).endpoint
        self.client_.answers[self.URL] = Reply(status, "busy", retry_after=retry_after)
        self.pay_in(1)
        self.deliver()
        self.client_.answers.clear()
        self.pay_in(2, wallet=self.bob)
        return endpoint

    def test_gets_no_event_of_any_wallet(self):
        for status in (429, 503):
            with self.subTest(status=status):
                endpoint = self.answered(status, "600")
                self.assertEqual(self.deliver(), 0)
                left = self.row(endpoint).quiet_until - database_now()
                self.assertAlmostEqual(left.total_seconds(), 600, delta=60)
                endpoints.delete(endpoint.uuid, actor="client")

    def test_gets_none_of_a_courier_that_looked_for_work_before(self):
        endpoint = self.answered(429, "600")
        self.assertEqual(claim.claim(endpoint.pk, room=10), [])

    def test_gets_no_test_event(self):
        endpoint = self.answered(429, "600")
        repeat.send_test(endpoint.uuid, actor="client")
        self.assertEqual(self.deliver(), 0)

    def test_may_say_so_to_a_test_event(self):
        endpoint = self.endpoint().endpoint
        self.client_.answers[self.URL] = Reply(429, "busy", retry_after="600")
        repeat.send_test(endpoint.uuid, actor="client")
        self.deliver()
        self.pay_in(1)
        self.assertEqual(self.deliver(), 0)

    def test_gets_all_when_the_time_is_over(self):
        endpoint = self.answered(429, "600")
        Endpoint.objects.update(quiet_until=database_now())
        self.deliver(after=3000)
        self.assertEqual(sorted(self.client_.amounts()), [1, 1, 2])
        self.assertTrue(self.row(endpoint).enabled)

    def test_stops_everything_for_an_hour_at_most(self):
        endpoint = self.answered(503, "80000")
        left = self.row(endpoint).quiet_until - database_now()
        self.assertLessEqual(left.total_seconds(), retries.MAX_QUIET)
        # Its own event waits as long as it was asked for.
        self.assertGreater(seconds_until(Delivery.objects.get(sequence=1)), 70_000)

    def test_is_heard_at_its_longest_when_several_calls_are_answered(self):
        endpoint = self.endpoint(types=["deposit.completed"]).endpoint
        self.pay_in(1)
        self.pay_in(2, wallet=self.bob)
        first, second = claim.claim(endpoint.pk, room=2)
        busy = [Reply(429, "busy", retry_after=text) for text in ("900", "30")]
        record.record([(first, busy[0]), (second, busy[1])])
        left = self.row(endpoint).quiet_until - database_now()
        self.assertGreater(left.total_seconds(), 800)

    def test_is_believed_for_these_answers_only(self):
        for status, retry_after in ((500, "600"), (429, ""), (503, "soon")):
            with self.subTest(status=status, retry_after=retry_after):
                endpoint = self.answered(status, retry_after)
                self.assertEqual(self.deliver(), 1)
                endpoints.delete(endpoint.uuid, actor="client")

    def test_gets_one_at_a_time_for_a_while_without_that_header(self):
        """As Standard Webhooks advises: 429, 502 and 504 mean that it is overloaded."""
        for status in (429, 502, 503, 504, 500):
            with self.subTest(status=status):
                endpoint = self.answered(status, "")
                self.pay_in(3, wallet=WalletService.create())
                one_at_a_time = status != 500
                claimed = claim.claim(endpoint.pk, room=10)
                self.assertEqual(len(claimed), 1 if one_at_a_time else 2)
                self.assertEqual(self.row(endpoint).busy_until is None, status == 500)
                endpoints.delete(endpoint.uuid, actor="client")

    def test_gets_many_at_a_time_when_that_is_over(self):
        endpoint = self.answered(502, "")
        self.pay_in(3, wallet=WalletService.create())
        # Over, and set in the future by a clock that was set back since.
        for busy_until in (0, 86400):
            later = database_now() + timedelta(seconds=busy_until)
            Endpoint.objects.update(busy_until=later)
            self.assertGreater(len(claim.claim(endpoint.pk, room=10)), 1)
            self.let_pass(61)

    def test_gets_many_at_a_time_at_a_new_url(self):
        endpoint = self.answered(502, "")
        new = "http://127.0.0.1:9/new"
        endpoints.change(endpoint.uuid, Changes(url=new), actor="client")
        self.assertEqual(len(claim.claim(endpoint.pk, room=10)), 2)

    def test_has_no_say_about_a_new_url(self):
        endpoint = self.answered(429, "600")
        new = "http://127.0.0.1:9/new"
        endpoints.change(endpoint.uuid, Changes(url=new), actor="client")
        self.deliver()
        self.assertEqual(sorted(self.client_.amounts(new)), [1, 2])

    def test_has_no_say_about_a_new_url_with_a_late_answer(self):
        endpoint = self.endpoint(types=["deposit.completed"]).endpoint
        self.pay_in(1)
        (sending,) = claim.claim(endpoint.pk, room=1)
        new = "http://127.0.0.1:9/new"
        endpoints.change(endpoint.uuid, Changes(url=new), actor="client")
        record.record([(sending, Reply(429, "busy", retry_after="600"))])
        self.assertIsNone(self.row(endpoint).quiet_until)

    def test_is_served_at_once_after_it_was_switched_off_and_on(self):
        endpoint = self.answered(429, "600")
        for enabled in (False, True):
            endpoints.change(endpoint.uuid, Changes(enabled=enabled), actor="oscar")
        self.deliver()
        self.assertEqual(sorted(self.client_.amounts()), [1, 1, 2])

    def test_is_not_left_alone_for_days_by_a_clock_that_was_set_back(self):
        endpoint = self.answered(429, "600")
        Endpoint.objects.update(quiet_until=database_now() + timedelta(days=1))
        self.assertEqual(self.deliver(), 1)
        self.assertIsNone(self.row(endpoint).quiet_until)


class DatabaseAwayTest(WebhookTestCase):
    """A database that is away delays deliveries, and ends no courier."""

    def setUp(self):
        super().setUp()
        # It would close the connection of the test's transaction.
        kept = mock.patch.object(courier_module, "close_old_connections")
        kept.start()
        self.addCleanup(kept.stop)

    def away(self, module, name, *, times):
        """Let the first calls of a function fail as without a database."""
        real, left = getattr(module, name), itertools.count(1)

        def call(*args, **options):
            if next(left) <= times:
                raise OperationalError("server closed the connection")
            return real(*args, **options)

        return mock.patch.object(module, name, call)

    def test_while_a_reply_is_recorded_keeps_the_reply(self):
        self.endpoint()
        self.pay_in(1, 2)
        courier = Courier(self.client_)
        with self.away(record, "record", times=2):
            courier.run_once()
            self.assertEqual(Delivery.objects.get(sequence=1).open, True)
            for _ in range(2):
                courier._collect(0)
        self.assertEqual(Delivery.objects.get(sequence=1).outcome, "delivered")
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2])  # nothing was sent twice

    def test_while_work_is_looked_for_delays_it(self):
        self.endpoint()
        self.pay_in(1)
        looks = self.away(claim, "endpoints_with_work", times=2)
        with looks, self.settings(WEBHOOK_POLL=0.01):
            Courier(self.client_).run(seconds=2)
        self.assertEqual(self.client_.amounts(), [1])


class UnreadableSecretTest(WebhookTestCase):
    def test_signs_nothing_and_is_an_alarm(self):
        endpoint = self.endpoint().endpoint
        self.pay_in(1, 2)
        with self.settings(SECRET_KEY="another one"):
            self.deliver()
            self.assertEqual(self.client_.got, [])
            self.assertEqual(Alarm.objects.filter(kind=switch.NO_SECRET).count(), 1)
            self.assertTrue(self.row(endpoint).enabled)
            made = rotation.rotate_secret(endpoint.uuid, actor="oscar")
            self.deliver(after=61)
            self.verify(made.secret, self.client_.got[0])
        self.assertEqual(self.client_.amounts(), [1, 2])
        self.assertIsNone(self.row(endpoint).old_ends_at)

    def alarms(self):
        """Return the open alarms, and how many there were ever."""
        alarms = Alarm.objects.filter(kind=switch.NO_SECRET)
        return alarms.filter(acknowledged_at=None).count(), alarms.count()

    def unsigned(self, key):
        with self.settings(SECRET_KEY=key):
            self.pay_in(1)
            self.deliver(after=61)

    def test_is_an_alarm_each_time_that_it_happens(self):
        """It was one for each webhook ever, ended or not: later nobody was told."""
        endpoint = self.endpoint().endpoint
        for times in (1, 2, 3):
            self.unsigned(f"key {times}")
            self.unsigned(f"key {times}")
            self.assertEqual(self.alarms(), (1, times))
            rotation.rotate_secret(endpoint.uuid, keep=Keep.OLD, actor="oscar")
            self.assertEqual(self.alarms(), (0, times))
            self.deliver(after=61)
        self.assertEqual(len(self.client_.got), 6)

    def test_is_a_new_alarm_after_it_was_readable_for_a_while(self):
        self.endpoint()
        self.unsigned("key 1")
        alarm.acknowledge(Alarm.objects.get().pk, actor="oscar")
        self.unsigned("key 1")  # he knows, and has not mended it yet
        self.assertEqual(self.alarms(), (0, 1))
        self.deliver(after=61)
        self.unsigned("key 2")
        self.assertEqual(self.alarms(), (1, 2))

    def test_is_one_alarm_while_only_some_processes_have_the_key(self):
        self.endpoint()
        for _ in range(3):
            self.unsigned("key 1")
            self.deliver(after=61)
        self.assertEqual(self.alarms(), (1, 1))

    def test_is_an_alarm_beside_one_of_the_release_before(self):
        """Those have no number, and are ended or open."""
        endpoint = self.endpoint().endpoint
        alarm.raise_alarm(
            switch.NO_SECRET,
            subject=switch.subject_of(endpoint),
            detail="before",
            now=self.now,
        )
        alarm.acknowledge(Alarm.objects.get().pk, actor="oscar")
        self.unsigned("key 1")
        self.assertEqual(self.alarms(), (1, 2))

    def test_becomes_readable_again(self):
        self.endpoint()
        self.pay_in(1)
        with self.settings(SECRET_KEY="another one"):
            self.deliver()
        self.deliver(after=61)
        self.assertEqual(self.client_.amounts(), [1])


class DeletedEndpointTest(WebhookTestCase):
    def test_gets_nothing_more_and_its_rows_go(self):
        endpoint = self.endpoint().endpoint
        self.pay_in(1, 2)
        (sending,) = claim.claim(endpoint.pk, room=1)
        endpoints.delete(endpoint.uuid, actor="client")
        record.record([(sending, OK)])
        self.assertEqual(self.deliver(after=100), 0)
        prune.prune()
        self.assertFalse(Delivery.objects.exists())
        self.assertFalse(Endpoint.objects.exists())
        record.record([(sending, BROKEN)])  # a late answer finds nothing

    def test_keeps_no_secret(self):
        made = self.endpoint()
        endpoints.delete(made.endpoint.uuid, actor="client")
        row = self.row(made.endpoint)
        self.assertNotEqual(row.secret_seed, made.endpoint.secret_seed)


class PruneTest(WebhookTestCase):
    def test_removes_old_deliveries_and_nothing_that_is_open(self):
        self.endpoint()
        self.pay_in(1)
        self.deliver()
        self.client_.answers[self.URL] = BROKEN
        self.pay_in(2)
        self.deliver()
        with self.settings(WEBHOOK_KEEP_DAYS=1):
            prune.prune()
            self.assertEqual(Delivery.objects.count(), 2)
        with self.settings(WEBHOOK_KEEP_DAYS=-1):
            prune.prune()
        self.assertEqual(Delivery.objects.get().open, True)


class FeedTest(WebhookTestCase):
    def test_is_read_where_the_endpoint_has_come_to(self):
        endpoint = self.endpoint().endpoint
        endpoints.change(endpoint.uuid, Changes(enabled=False), actor="client")
        self.pay_in(1, 2)
        self.assertEqual(self.deliver(), 0)
        self.pay_in(3)
        endpoints.change(endpoint.uuid, Changes(enabled=True), actor="client")
        make_events()
        self.deliver()
        self.assertEqual(self.client_.amounts(), [1, 2, 3])

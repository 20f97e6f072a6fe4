"""A replay from a time, where the times of events do not rise with their positions."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models.block import Block
from events.models.event import Event
from events.services import feed, moments, sequencer
from events.services.webhooks import repeat
from events.services.webhooks.courier import Courier
from events.tests.webhooks import WebhookTestCase, make_events
from wallets.models.wallet import Wallet
from wallets.services.wallet import WalletService
from wallets.tests.base import CommittingTestCase
from wallets.tests.races import race
from wallets.utils import instants


class MomentCase(WebhookTestCase):
    """Blocks have four events. The feed has some days, which the tests may look into."""

    SIZE = 4

    def setUp(self) -> None:
        super().setUp()
        small = mock.patch.object(moments, "SIZE", self.SIZE)
        small.start()
        self.addCleanup(small.stop)

    def minute(self, minute: float) -> datetime:
        """Return a time that begins a day after the wallets were made."""
        return self.after(86_400 + 60 * minute)

    def pay_in_at(self, *minutes: float, wallet: Wallet | None = None) -> None:
        """Make a deposit at each of these times, and its event at once."""
        uuid = (wallet or self.alice).uuid
        for minute in minutes:
            WalletService.deposit(uuid, 1 + round(minute), now=self.minute(minute))
            make_events()

    def assert_misses_nothing(self) -> None:
        """A replay from the time of any event begins at the first one of this or later."""
        events = list(Event.objects.order_by("position"))
        self.assertGreater(len(events), 2 * self.SIZE)
        for start in {event.created_at for event in events}:
            for moment in (start, start + timedelta(microseconds=1)):
                wanted = [one.position for one in events if one.created_at >= moment]
                found = moments.first_position(moment)
                expected = min(wanted, default=len(events) + 1)
                self.assertEqual(found, expected, instants.write(moment))


class ReplayFromATimeTest(MomentCase):
    def replay(self, start: datetime) -> list[int]:
        """Return the amounts that a webhook gets from this time on."""
        self.client_.got.clear()
        repeat.replay(self.hook.uuid, start, actor="oscar")
        self.deliver()
        return self.client_.amounts()

    def setUp(self) -> None:
        super().setUp()
        self.hook = self.endpoint(types=["deposit.completed"]).endpoint

    def test_sends_all_although_a_transaction_was_committed_late(self) -> None:
        self.pay_in_at(*range(0, 100, 5))
        # Of minute 51, and held open for 45 minutes.
        self.pay_in_at(51, wallet=self.bob)
        self.pay_in_at(*range(100, 120, 5))
        self.deliver()
        for start in (52, 70, 95, 100):
            wanted = [1 + minute for minute in range(0, 120, 5) if minute >= start]
            found = self.replay(self.minute(start))
            self.assertLessEqual(set(wanted), set(found), start)
        self.assert_misses_nothing()

    def test_sends_all_although_the_feed_began_after_the_ledger(self) -> None:
        """All wallets may come before earlier movements: so late is the first event."""
        for hour in range(10):
            wallet = WalletService.create(now=self.minute(60 * hour))
            WalletService.deposit(
                wallet.uuid, 1 + hour, now=self.minute(60 * hour + 30)
            )
        sequencer.catch_up()
        self.deliver()
        for hour in (0, 4, 9):
            found = self.replay(self.minute(60 * hour + 30))
            self.assertLessEqual(set(range(1 + hour, 11)), set(found))
        self.assert_misses_nothing()

    def test_sends_all_although_the_clock_was_set_back(self) -> None:
        self.pay_in_at(*range(0, 10))
        self.pay_in_at(100_000)
        for minute in range(10, 20):
            self.pay_in_at(minute, wallet=WalletService.create(now=self.minute(0)))
        self.deliver()
        self.assertLessEqual(set(range(16, 21)), set(self.replay(self.minute(15))))
        self.assert_misses_nothing()

    def test_begins_at_the_first_event_of_the_time(self) -> None:
        self.pay_in_at(*range(0, 20))
        self.deliver()
        self.assertEqual(self.replay(self.minute(15)), [16, 17, 18, 19, 20])
        self.assertEqual(self.replay(self.minute(16.5)), [18, 19, 20])
        self.assertEqual(self.replay(self.minute(30)), [])

    def test_reads_few_rows_of_a_long_feed(self) -> None:
        self.pay_in_at(*range(0, 40))
        moments.first_position(self.minute(0))
        with CaptureQueriesContext(connection) as queries:
            moments.first_position(self.minute(35))
        reads = [one["sql"] for one in queries if one["sql"].startswith("SELECT")]
        # Whether blocks are new (2), their end, the block, and its first event.
        self.assertEqual(len(reads), 5, reads)

    def test_is_the_end_of_an_empty_feed(self) -> None:
        self.assertEqual(
            moments.first_position(self.minute(0)), Event.objects.count() + 1
        )


class BlockTest(MomentCase):
    def test_is_noted_when_all_of_its_events_are_there(self) -> None:
        self.pay_in_at(*range(0, 3 * self.SIZE))
        events = Event.objects.count()
        self.assertEqual(moments.note(most=100), events // self.SIZE)
        self.assertEqual(moments.note(most=100), 0)
        for block in Block.objects.all():
            first = block.last - self.SIZE + 1
            rows = Event.objects.filter(position__range=(first, block.last))
            self.assertEqual(rows.count(), self.SIZE)
            self.assertEqual(block.latest, max(row.created_at for row in rows))

    def test_is_noted_by_a_courier_some_at_a_time(self) -> None:
        self.pay_in_at(*range(0, 3 * self.SIZE))
        with (
            mock.patch("events.services.webhooks.courier.MOST_BLOCKS", 2),
            mock.patch("events.services.webhooks.courier.close_old_connections"),
        ):
            Courier(self.client_).run(seconds=0.2)
        self.assertEqual(Block.objects.count(), 2)

    def test_may_be_noted_by_another_process_between_two_statements(self) -> None:
        """No block was late enough; then the one of the event is full and noted."""
        self.pay_in_at(*range(0, 3 * self.SIZE))
        while feed.last_position() % self.SIZE:
            self.pay_in_at(0)
        moments.note(most=100)
        for late_in_its_block in range(1, self.SIZE):
            self.pay_in_at(100 * late_in_its_block)
        with connection.execute_wrapper(self.fill_after_the_search):
            found = moments.first_position(self.minute(300))
        self.assertEqual(Block.objects.latest("last").last, feed.last_position())
        self.assertEqual(found, feed.last_position() - 1)

    def fill_after_the_search(self, execute, sql, params, many, context):
        found = execute(sql, params, many, context)
        if re.search(r"latest\W+>=", sql):
            self.pay_in_at(0)
            moments.note(most=1)
        return found


class BlockRaceTest(CommittingTestCase):
    def test_is_noted_once_by_processes_at_work_together(self) -> None:
        for minute in range(40):
            WalletService.deposit(self.alice.uuid, 1, now=self.after(60 * minute))
        sequencer.catch_up()
        with mock.patch.object(moments, "SIZE", 2):
            found = race(*[lambda: moments.first_position(self.after(60 * 20))] * 4)
            lasts = list(Block.objects.values_list("last", flat=True))
        self.assertEqual(len(set(found)), 1, found)
        self.assertEqual(lasts, list(range(2, Event.objects.count() + 1, 2)))

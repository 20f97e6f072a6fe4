"""An event tells the time that held at its moment, whatever happens later."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.serializers.event import event_line
from events.services import feed, sequencer, verify
from wallets.models.transaction import Transaction
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.utils import instants, strict_json

HOUR = 3600


class RescheduledEventTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        self.withdrawal = WithdrawalService.schedule(
            self.alice.uuid, 40, self.after(HOUR), now=self.now
        )

    def reschedule(self, seconds: float, row: Transaction | None = None) -> None:
        pk = (row or self.withdrawal).pk
        WithdrawalService.reschedule(pk, self.after(seconds), actor=OSCAR, now=self.now)

    def page(self) -> list[bytes]:
        """Return the events of Alice's wallet, as they are sent."""
        sequencer.catch_up()
        found = feed.read(0, 99, wallet=self.alice.uuid)
        return [strict_json.dumps(event_line(one)) for one in found]

    def times(self) -> list[tuple[str, object]]:
        """Return the type and the time of each event of a withdrawal."""
        sequencer.catch_up()
        return [
            (one.type.partition(".")[2], one.data["scheduled_for"])
            for one in feed.read(0, 99, wallet=self.alice.uuid)
            if one.type.startswith("withdrawal.")
        ]

    def at(self, seconds: float) -> str:
        return instants.write(self.after(seconds))

    def test_has_the_new_time_and_who_asked(self) -> None:
        self.reschedule(60)
        sequencer.catch_up()
        (last,) = feed.read(0, 99, kinds=["withdrawal.rescheduled"])
        self.assertEqual(last.data["scheduled_for"], self.at(60))
        self.assertEqual(last.data["status"], "PENDING")
        self.assertEqual(last.data["actor"], OSCAR)
        self.assertIsNone(last.data["sequence"])

    def test_leaves_the_earlier_events_as_they_were(self) -> None:
        for seconds in (60, 2 * HOUR, 120):
            before = self.page()
            self.reschedule(seconds)
            after = self.page()
            self.assertEqual(after[: len(before)], before)
            self.assertEqual(len(after), len(before) + 1)

    def test_tells_each_time_once_it_held(self) -> None:
        self.reschedule(60)
        self.reschedule(120)
        WithdrawalService.execute(
            self.withdrawal.pk, bank=self.bank, now=self.after(120)
        )
        self.assertEqual(
            self.times(),
            [
                ("scheduled", self.at(HOUR)),
                ("rescheduled", self.at(60)),
                ("rescheduled", self.at(120)),
                ("processing", self.at(120)),
                ("completed", self.at(120)),
            ],
        )

    def test_does_not_mix_two_withdrawals_of_one_page(self) -> None:
        other = WithdrawalService.schedule(
            self.alice.uuid, 1, self.after(2 * HOUR), now=self.now
        )
        never = WithdrawalService.schedule(
            self.alice.uuid, 1, self.after(3 * HOUR), now=self.now
        )
        self.reschedule(60)
        self.reschedule(120, other)
        self.assertEqual(
            sorted(self.times()),
            sorted(
                [
                    ("scheduled", self.at(HOUR)),
                    ("scheduled", self.at(2 * HOUR)),
                    ("scheduled", self.at(3 * HOUR)),
                    ("rescheduled", self.at(60)),
                    ("rescheduled", self.at(120)),
                ]
            ),
        )
        never.refresh_from_db()
        self.assertIsNone(never.first_scheduled_for)

    def test_costs_a_page_one_query_and_a_page_without_one_none(self) -> None:
        for expected in (0, 1, 1):
            sequencer.catch_up()
            with CaptureQueriesContext(connection) as queries:
                feed.read(0, 99, wallet=self.alice.uuid)
            about = [one for one in queries if "'reschedule'" in (one["sql"] or "")]
            self.assertEqual(len(about), expected)
            self.reschedule(60)
            self.reschedule(120)

    def test_is_verified(self) -> None:
        self.reschedule(60)
        sequencer.catch_up()
        self.assertEqual(list(verify.verify()), [])

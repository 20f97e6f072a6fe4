"""A row that cannot be read, and the feed: all other events are told."""

from __future__ import annotations

from typing import Any

from events.services import feed, sequencer
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does
from wallets.tests.unreadable import TIMES, damage_count, damage_time


class UnreadableTest(WalletTestCase):
    """Bob's withdrawal was refused, and cannot be read any more: Alice's is told."""

    books_must_be_right = False

    def _should_check_constraints(self, connection: Any) -> bool:
        return False

    def setUp(self) -> None:
        super().setUp()
        self.damaged = self.refused_withdrawal(10, at=self.now)
        self.bank.script.append(Does.PAY)
        self.deposit(5, self.bob)

    def told(self) -> int:
        sequencer.catch_up()
        return len(feed.read(0, 1000))

    def test_columns_that_no_event_tells_keep_nothing_from_being_told(self) -> None:
        whole = self.told()
        self.assertGreater(whole, 5)
        for time in TIMES:
            damage_time(
                self.damaged, "created_at", "executed_at", "next_attempt_at", time=time
            )
            damage_count(self.damaged, "version")
            self.deposit(5)
            whole += 1
            self.assertEqual(self.told(), whole)

    def test_places_are_given_whatever_the_times_of_a_withdrawal_are(self) -> None:
        damage_time(self.damaged, "created_at", "scheduled_for")
        self.assertGreater(sequencer.catch_up(), 5)
        self.assertEqual(sequencer.catch_up(), 0)

    def test_times_of_a_wallet_keep_nothing_from_being_told(self) -> None:
        whole = self.told()
        damage_time(self.alice, "created_at", "updated_at")
        self.assertEqual(self.told(), whole)

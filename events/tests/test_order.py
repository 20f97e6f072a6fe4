"""Stories in which the order of the feed is hard to keep."""

from __future__ import annotations

import random
import uuid
from unittest import mock

from events.models.event import Event, Source
from events.models.progress import Gap
from events.services import gaps, sequencer
from events.tests.world import World, broken_rules
from wallets.models.states import Event as Change
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase


class LateChangeTest(WalletTestCase):
    """A change is found in its gap. Its movement, and the one before, are in others."""

    books_must_be_right = False  # the rows have no balances

    def setUp(self) -> None:
        super().setUp()
        self.world = World(random.Random(1), self.now)
        for _ in range(2):
            self.world.create_wallet()
            self.world.end(0)
        self.late, self.other = self.world.wallets
        self.world.schedule(self.late)
        self.world.end(0)
        (self.withdrawal,) = self.late.withdrawals
        sequencer.catch_up()

    def pass_by(self) -> None:
        """Commit higher ids than those of the open transaction, and pass them."""
        self.world.deposit(self.other, 1)
        self.world.schedule(self.other)
        self.world.end(2)
        self.world.end(1)
        # No gap is looked at.
        with mock.patch.object(gaps.Open, "by_source", return_value={}):
            sequencer.catch_up()

    def test_comes_after_them(self) -> None:
        self.world.deposit(self.late, 1)
        self.pass_by()
        self.world.end(0)
        self.world.change(self.late, self.withdrawal, Change.CLAIM)
        self.pass_by()
        self.world.end(0)
        before = Event.objects.count()
        # A pass looks at one gap only: at that of the change.
        Gap.objects.update(look_at=self.after(60))
        newest = Gap.objects.filter(source=Source.TRANSITION).last()
        Gap.objects.filter(pk=newest.pk).update(look_at=self.now)
        with mock.patch.object(gaps, "MAX_GAPS", 1):
            sequencer.run_pass()
        new = Event.objects.filter(position__gt=before)
        self.assertEqual(
            list(new.values_list("type", flat=True)),
            ["deposit.completed", "withdrawal.processing"],
        )
        sequencer.catch_up()
        self.assertEqual(broken_rules(), [])


class ClockSetBackTest(WalletTestCase):
    """The clock is set back between the schedule of a withdrawal and its claim."""

    books_must_be_right = False

    def test_leaves_the_statement_in_order(self) -> None:
        world = World(random.Random(1), self.now)
        world.create_wallet()
        world.end(0)
        (wallet,) = world.wallets
        world.schedule(wallet)
        world.end(0)
        (withdrawal,) = wallet.withdrawals
        world.now = self.after(-60)
        world.change(wallet, withdrawal, Change.CLAIM)
        world.end(0)
        world.now = self.after(-30)
        world.deposit(wallet, 1)
        world.end(0)
        sequencer.run_pass()
        self.assertEqual(broken_rules(), [])
        mine = Event.objects.filter(wallet=wallet.row).order_by("position")
        self.assertEqual(
            list(mine.values_list("type", flat=True)),
            [
                *("wallet.created", "withdrawal.scheduled"),
                *("withdrawal.processing", "deposit.completed"),
            ],
        )


class StatementTest(WalletTestCase):
    """The order of a wallet's statement is that of its events."""

    def test_decides_among_changes_of_one_moment(self) -> None:
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        sequencer.catch_up()
        known = Event.objects.count()
        at = self.after(60)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=at)
        deposit_many([DepositRequest(self.alice.uuid, 5, uuid.uuid4())], now=at)
        sequencer.catch_up()
        types = Event.objects.order_by("position").values_list("type", flat=True)
        self.assertEqual(
            list(types)[known:],
            ["withdrawal.processing", "withdrawal.completed", "deposit.completed"],
        )

"""Random interleavings of transactions that write the ledger, and of passes."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from unittest import mock

from django.db import connection

from events.models.event import Event
from events.services import feed, gaps, sequencer, verify
from events.tests.world import World, broken_rules
from wallets.tests.base import WalletTestCase
from wallets.tests.marks import slow

SEED = int(os.environ.get("EVENTS_SEED", "1"))
STORIES = int(
    os.environ.get("EVENTS_STORIES", "12" if connection.vendor == "sqlite" else "4")
)
STEPS = 120


class InterleavingTest(WalletTestCase):
    """The feed has every committed row once, in order, whatever commits when."""

    books_must_be_right = False  # the rows have no balances

    def test_keeps_every_promise_in_any_order_of_commits(self) -> None:
        self.tell(SEED, 2)

    @slow
    def test_keeps_every_promise_in_many_stories(self) -> None:
        self.tell(SEED + 2, STORIES)
        if STORIES >= 12:
            found = Event.objects.filter(type="correction.posted")
            self.assertGreater(found.count(), 0)

    def tell(self, first: int, stories: int) -> None:
        world = World(random.Random(first), self.now)
        for number in range(first, first + stories):
            with self.subTest(f"EVENTS_SEED={first} EVENTS_STORIES={number}"):
                world.dice = random.Random(number)
                self.story(world)

    def story(self, world: World) -> None:
        """Let transactions and passes run in a random order, then all end."""
        dice = world.dice
        # Few gaps are "many" here, so that passes also see only a part of them.
        few = dice.choice([1, 2, 200])
        limit = dice.choice([1, 2, 5, 50])
        commits = dice.choice([0.2, 0.5, 0.9])
        with (
            mock.patch.object(gaps, "MAX_GAPS", few),
            mock.patch.object(gaps, "database_now", side_effect=lambda: world.now),
        ):
            for _ in range(STEPS):
                chance = dice.random()
                world.step_clock()
                if world.open and chance < commits / 2:
                    world.end(commit=dice.random() < 0.85)
                elif chance < 0.75:
                    world.begin()
                else:
                    self.run_pass(limit)
            while world.open:
                world.end(commit=dice.random() < 0.85)
            self.end(world, limit)

    def run_pass(self, limit: int) -> bool:
        """Run a pass; what a reader has seen before must be the beginning of the feed.

        Return whether it did anything.
        """
        before = list(Event.objects.values_list())
        done = sequencer.run_pass(limit=limit)
        after = list(Event.objects.values_list())
        self.assertEqual(after[: len(before)], before)
        self.assertEqual(len(after) - len(before), done.events)
        return done.more or done.events > 0

    def end(self, world: World, limit: int) -> None:
        """Run passes until nothing is left, at last with a look at every gap."""
        for _ in range(10):
            world.now += timedelta(days=1)
            self.run_pass(limit)
        with mock.patch.object(gaps, "MAX_GAPS", 10**6):
            while self.run_pass(limit):
                pass
        self.assertEqual(broken_rules(), [])
        # The rows of this ledger have no counters.
        counters = {"movement_count", "change_count", "version"}
        found = [one for one in verify.verify() if one.check not in counters]
        self.assertEqual(found, [])
        records = feed.read(0, 10**6)
        self.assertEqual(len({one.id for one in records}), len(records))
        self.assertEqual(records, feed.read(0, 10**6))

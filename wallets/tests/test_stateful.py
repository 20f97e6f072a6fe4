"""Random stories of withdrawals (`machine`) and wallets (`machine_wallets`).

By default they are always the same.

    WALLET_STATEFUL_SEED=random WALLET_STATEFUL_ROUNDS=500 \
        python -m pytest -o timeout=0 wallets/tests/test_stateful.py

A failed run prints its seed and the steps of the story. WALLET_STATEFUL_SHRINK=1
searches for a shorter story, which takes longer.
"""

from __future__ import annotations

import os
import random

from django.db import connection
from django.test import TestCase
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from wallets.tests import marks
from wallets.tests.machine import Story
from wallets.tests.machine_wallets import WalletStory
from wallets.tests.marks import slow, timeout

SEED = os.environ.get("WALLET_STATEFUL_SEED", "4")
# Stories hardly depend on the database: many run on SQLite, some on the others.
USUAL_ROUNDS = "4" if connection.vendor == "sqlite" else "1"
ROUNDS = int(os.environ.get("WALLET_STATEFUL_ROUNDS", USUAL_ROUNDS))
# After this many stories Hypothesis would only vary earlier ones.
STORIES_OF_A_ROUND = 12
SHRINK = [Phase.shrink] * (os.environ.get("WALLET_STATEFUL_SHRINK") == "1")


@marks.slow
class StatefulTest(TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.first = (
            random.SystemRandom().randrange(2**32) if SEED == "random" else int(SEED)
        )

    def test_pays_once_and_settles_whatever_happens_in_whatever_order(self):
        self.tell(self.first, 1)

    @slow
    @timeout(300)
    def test_does_so_in_many_stories(self):
        self.tell(self.first + 1, ROUNDS - 1)

    def test_does_so_while_wallets_are_frozen_corrected_and_pay_each_other(self):
        self.tell(self.first, 1, WalletStory)

    @slow
    @timeout(300)
    def test_does_so_in_many_stories_of_wallets(self):
        self.tell(self.first + 1, ROUNDS - 1, WalletStory)

    def tell(self, first: int, rounds: int, story: type[Story] = Story) -> None:
        for number in range(first, first + rounds):
            again = f"WALLET_STATEFUL_SEED={number} WALLET_STATEFUL_ROUNDS=1"
            with self.subTest(again):
                tell_stories(number, story)


def tell_stories(number: int, story: type[Story]) -> None:
    """Run some stories, always the same ones for the same number."""
    run_state_machine_as_test(
        seed(number)(lambda: story()),
        settings=settings(
            max_examples=STORIES_OF_A_ROUND,
            stateful_step_count=20,
            phases=[Phase.generate, *SHRINK],
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )

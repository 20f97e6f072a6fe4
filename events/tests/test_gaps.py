"""Many gaps: each is looked at again, less and less often, and for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest import mock

from events.models.event import Source
from events.models.progress import Gap
from events.services import gaps
from wallets.tests.base import WalletTestCase


class ManyGapsTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        patches = (
            mock.patch.object(gaps, "MAX_GAPS", 2),
            mock.patch.object(gaps, "database_now", side_effect=lambda: self.now),
        )
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)

    def keep(self, *ids: int) -> None:
        for one in ids:
            gaps.keep(Source.MOVEMENT, [(one, one)])

    def looked_at(self) -> list[str]:
        """Look once; return the ids that were looked at."""
        waiting = gaps.Open()
        found = [row.missing for row in waiting.rows]
        waiting.close({})
        return found

    def test_are_all_looked_at_while_they_are_few(self) -> None:
        self.keep(10, 20)
        for _ in range(3):
            self.assertEqual(self.looked_at(), ["10", "20"])

    def test_are_looked_at_in_turn(self) -> None:
        self.keep(10, 20, 30, 40, 50)
        seen = self.looked_at() + self.looked_at() + self.looked_at()
        self.assertEqual(seen, ["10", "20", "30", "40", "50"])
        self.assertEqual(self.looked_at(), [])

    def test_are_looked_at_again_after_a_quarter_of_their_age(self) -> None:
        self.keep(10, 20, 30)
        self.now += timedelta(hours=1)
        seen = self.looked_at() + self.looked_at()
        self.assertEqual(seen, ["10", "20", "30"])
        self.now += timedelta(minutes=14)
        self.assertEqual(self.looked_at(), [])
        self.now += timedelta(minutes=2)
        self.assertEqual(self.looked_at() + self.looked_at(), ["10", "20", "30"])

    def test_are_looked_at_in_time_after_a_clock_was_ahead(self) -> None:
        """The next look was planned for next year, and few were planned rightly."""
        self.keep(10, 20, 30)
        with self.clock_ahead():
            self.assertEqual(self.looked_at() + self.looked_at(), ["10", "20", "30"])
        self.keep(40, 50)
        seen = self.looked_at() + self.looked_at() + self.looked_at()
        self.assertEqual(sorted(seen), ["10", "20", "30", "40", "50"])
        self.assertEqual(self.looked_at(), [])

    def test_are_looked_at_in_time_after_they_were_seen_by_such_a_clock(self) -> None:
        with self.clock_ahead():
            self.keep(10, 20, 30)
        self.assertEqual(self.looked_at() + self.looked_at(), ["10", "20", "30"])
        self.assertEqual(self.looked_at(), [])  # else each pass would find work

    def test_are_looked_at_in_time_after_it_was_ahead_by_less_than_their_age(
        self,
    ) -> None:
        self.keep(10, 20, 30)
        self.now += timedelta(minutes=10)
        with self.clock_ahead(timedelta(hours=9)):
            self.assertEqual(len(self.looked_at() + self.looked_at()), 3)
        self.now += timedelta(minutes=10)
        self.assertEqual(len(self.looked_at() + self.looked_at()), 3)
        self.assertEqual(self.looked_at(), [])

    @contextmanager
    def clock_ahead(self, by: timedelta = timedelta(days=365)) -> Iterator[None]:
        self.now += by
        yield
        self.now -= by

    def test_are_never_given_up(self) -> None:
        self.keep(10, 20, 30)
        for _ in range(40):
            self.now += timedelta(days=500)
            self.looked_at()
        self.assertEqual(Gap.objects.count(), 3)

    def test_lose_the_ids_that_were_found(self) -> None:
        gaps.keep(Source.MOVEMENT, [(5, 5), (9, 12)])
        gaps.Open().close({Source.MOVEMENT: [(10, 11)]})
        self.assertEqual(Gap.objects.get().missing, "5,9,12")
        gaps.Open().close({Source.MOVEMENT: [(1, 20)]})
        self.assertFalse(Gap.objects.exists())

    def test_of_many_ids_are_looked_at_in_parts(self) -> None:
        with mock.patch.object(gaps, "MAX_PROBES", 3):
            gaps.keep(Source.MOVEMENT, [(1, 1), (100, 101), (200, 200)])
            self.assertEqual(self.looked_at(), ["1", "100-101"])
            self.assertEqual(self.looked_at(), ["200"])

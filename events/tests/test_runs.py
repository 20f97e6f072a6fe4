"""Sets of ids as runs do what sets do."""

from __future__ import annotations

from itertools import pairwise

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from events.services import runs

IDS = st.sets(st.integers(1, 60))
MANY = settings(max_examples=60, deadline=None, derandomize=True)


def ids_of(some: list[runs.Run]) -> set[int]:
    return {one for first, last in some for one in range(first, last + 1)}


class RunsTest(SimpleTestCase):
    @MANY
    @given(IDS, IDS)
    def test_are_the_same_as_sets(self, some: set[int], others: set[int]) -> None:
        found, more = runs.runs_of(some), runs.runs_of(others)
        self.assertEqual(ids_of(found), some)
        self.assertEqual(ids_of(runs.merged([*found, *more])), some | others)
        self.assertEqual(ids_of(runs.without(found, more)), some - others)
        self.assertEqual(runs.count(found), len(some))
        below = {one for one in some if one < 30}
        self.assertEqual(ids_of(runs.below(found, 30)), below)
        for one in range(62):
            self.assertEqual(runs.contains(found, one), one in some)

    @MANY
    @given(IDS.filter(bool))
    def test_are_read_as_they_were_written(self, some: set[int]) -> None:
        found = runs.runs_of(some)
        self.assertEqual(runs.read(runs.written(found)), found)

    @MANY
    @given(st.sets(st.integers(1, 400)))
    def test_fall_into_clusters_of_near_ones(self, some: set[int]) -> None:
        groups = list(runs.clusters(runs.runs_of(some)))
        self.assertEqual({one for each in groups for one in ids_of(each)}, some)
        for before, after in pairwise(groups):
            self.assertGreater(after[0][0] - before[-1][1], runs.NEAR)

    @MANY
    @given(IDS)
    def test_are_a_condition_with_as_many_places_as_values(
        self, some: set[int]
    ) -> None:
        sql, values = runs.condition("id", runs.runs_of(some))
        self.assertEqual(sql.count("%s"), len(values))

    def test_of_a_cluster_that_skips_ids_share_one_gap(self) -> None:
        """A Galera cluster of three: each server gives every third id."""
        missing = runs.without([(1, 900)], runs.runs_of(range(1, 901, 3)))
        self.assertEqual(len(missing), 300)
        self.assertEqual(len(list(runs.clusters(missing))), 1)

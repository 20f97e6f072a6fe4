"""The history of a wallet, as the service reads it from the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from itertools import chain
from unittest import mock

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import postings
from wallets.services.ledger.postings import Posting
from wallets.services.reads import points, statement
from wallets.services.reads.balance import balance_at
from wallets.services.reads.points import Point, newest
from wallets.services.reads.statement import Statement, statement_of
from wallets.tests import marks
from wallets.tests.base import WalletTestCase

START = datetime(2030, 1, 1, tzinfo=dt_timezone.utc)
KINDS = Movement.Kind
SECONDS = st.integers(min_value=-1, max_value=12)


def moment(second: int) -> datetime:
    return START + timedelta(seconds=second)


def deposit_at(wallet: Wallet, amount: int, second: int) -> None:
    """Make a deposit at this moment."""
    now = moment(second)
    with transaction.atomic():
        wallets = postings.lock_wallets([wallet.pk])
        made = Transaction.objects.create(
            wallet=wallet,
            transaction_type="DEPOSIT",
            amount=amount,
            status="COMPLETED",
            executed_at=now,
            created_at=now,
        )
        postings.post([Posting(KINDS.DEPOSIT, made)], wallets, now=now)


def all_of(found: Statement) -> list[Movement]:
    return list(chain.from_iterable(found.batches()))


class PastTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        for second, amount in [(1, 10), (3, 20), (3, 30), (5, 40)]:
            deposit_at(self.alice, amount, second)
        deposit_at(self.bob, 1000, 2)

    def test_knows_the_balance_at_each_moment(self) -> None:
        for second, expected in [
            (0, Point(0, 0)),
            (1, Point(1, 10)),
            (2, Point(1, 10)),
            (3, Point(3, 60)),
            (4, Point(3, 60)),
            (5, Point(4, 100)),
            (9, Point(4, 100)),
        ]:
            with self.subTest(second=second):
                self.assertEqual(balance_at(self.alice, moment(second)), expected)
        just_before = moment(3) - timedelta(microseconds=1)
        self.assertEqual(balance_at(self.alice, just_before), Point(1, 10))
        self.assertEqual(newest(self.alice), Point(4, 100))

    def test_knows_a_past_balance_from_one_row_of_an_index(self) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            balance_at(self.alice, moment(4))
        (query,) = [
            one for one in queries.captured_queries if "_movement" in one["sql"]
        ]
        plan = (
            Movement.objects.filter(wallet=self.alice, created_at__lte=moment(4))
            .order_by("-created_at", "-sequence")[:1]
            .explain()
        )
        self.assertIn("LIMIT 1", query["sql"])
        if connection.vendor == "sqlite":
            self.assertIn("INDEX movement_by_time (wallet_id=? AND created_at<?)", plan)
            self.assertNotIn("TEMP B-TREE", plan)

    def test_reads_one_row_of_an_index_whatever_postgresql_last_counted(self) -> None:
        """At the last ANALYZE each wallet had one movement; then this one got many."""
        if connection.vendor != "postgresql":
            self.skipTest("PostgreSQL only")
        for number in range(40):
            deposit_at(Wallet.objects.create(), 1, number)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE wallets_movement")
        wallet = Wallet.objects.create()
        for number in range(40):
            deposit_at(wallet, 1, number)
        wallet.refresh_from_db()
        with mock.patch.object(points, "_first", explain := mock.Mock()):
            explain.side_effect = lambda rows: plans.append(rows[:1].explain())
            plans: list[str] = []
            balance_at(wallet, moment(20))
            statement_of(wallet)
        for plan in plans[:1]:
            self.assertIn("movement_by_time", plan)
            self.assertNotIn("Sort", plan)
        self.assertIn("sequence >= 40", plans[1])

    def test_finds_the_newest_whatever_was_written_since_the_wallet_was_read(
        self,
    ) -> None:
        self.alice.refresh_from_db()
        deposit_at(self.alice, 7, 6)
        self.assertEqual(newest(self.alice), Point(5, 107))

    def test_finds_the_newest_of_a_wallet_with_a_wrong_count(self) -> None:
        self.alice.movement_count = 99
        self.assertEqual(newest(self.alice), Point(4, 100))
        self.assertEqual(statement_of(self.alice).closing, Point(4, 100))

    def test_a_statement_begins_with_its_start_and_ends_before_its_end(self) -> None:
        for start, end, opening, closing in [
            (None, None, Point(0, 0), Point(4, 100)),
            (1, 3, Point(0, 0), Point(1, 10)),
            (3, 5, Point(1, 10), Point(3, 60)),
            (5, None, Point(3, 60), Point(4, 100)),
            (None, 3, Point(0, 0), Point(1, 10)),
            (3, 3, Point(1, 10), Point(1, 10)),
            (8, 9, Point(4, 100), Point(4, 100)),
        ]:
            with self.subTest(start=start, end=end):
                found = statement_of(
                    self.alice,
                    None if start is None else moment(start),
                    None if end is None else moment(end),
                )
                self.assertEqual((found.opening, found.closing), (opening, closing))
                sequences = [movement.sequence for movement in all_of(found)]
                expected = range(opening.sequence + 1, closing.sequence + 1)
                self.assertEqual(sequences, list(expected))

    def test_what_is_written_later_stays_out_of_a_statement_begun(self) -> None:
        begun = statement_of(self.alice)
        deposit_at(self.alice, 7, 5)
        self.assertEqual(len(all_of(begun)), 4)
        self.assertEqual(begun.page(3, 10)[-1].sequence, 4)

    def test_is_read_in_bounded_queries(self) -> None:
        self.addCleanup(setattr, statement, "BATCH", statement.BATCH)
        statement.BATCH = 3
        begun = statement_of(self.alice)
        with self.assertNumQueries(2):
            found = [movement.sequence for movement in all_of(begun)]
        self.assertEqual(found, [1, 2, 3, 4])


class SumTest(WalletTestCase):
    @marks.slow
    def test_opening_and_changes_make_the_closing_balance(self) -> None:
        @settings(max_examples=40, deadline=None, derandomize=True)
        @given(
            steps=st.lists(
                st.tuples(st.integers(0, 10), st.integers(1, 100)), max_size=12
            ),
            first=SECONDS,
            length=st.integers(min_value=0, max_value=12),
        )
        def check(steps: list[tuple[int, int]], first: int, length: int) -> None:
            self.add_up(steps, moment(first), moment(first + length))

        check()

    def add_up(
        self, steps: list[tuple[int, int]], start: datetime, end: datetime
    ) -> None:
        """Check that days add up, also with clocks that go back (unsorted seconds)."""
        wallet = Wallet.objects.create()
        for second, amount in steps:
            deposit_at(wallet, amount, second)
        found = statement_of(wallet, start, end)
        movements = all_of(found)
        changes = [movement.change for movement in movements]
        self.assertEqual(found.opening.balance + sum(changes), found.closing.balance)
        for movement in movements:
            self.assertTrue(start <= movement.created_at < end)
        self.assertEqual(statement_of(wallet, None, start).closing, found.opening)
        self.assertEqual(statement_of(wallet, end).opening, found.closing)
        just_before = end - timedelta(microseconds=1)
        self.assertEqual(balance_at(wallet, just_before), found.closing)

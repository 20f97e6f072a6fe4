"""Batched reads of clients: many at once, each with its own answer."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from unittest import mock, skipUnless

from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from wallets.errors import NotCancelable
from wallets.models.ledger import Movement
from wallets.models.rows import MovementRow, TransactionRow
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.reads import balance, current, reads_postgresql
from wallets.services.reads.balance import BalanceRequest, balance_at, balances
from wallets.services.reads.current import (
    PageRequest,
    pages,
    transactions_by_id,
    wallets_by_uuid,
)
from wallets.services.reads.points import Point
from wallets.services.reads.statement import (
    StatementPage,
    StatementRequest,
    UnknownPosition,
    statement_of,
    statement_pages,
)
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.base import END_OF_TIME, WalletTestCase, forget_statistics
from wallets.tests.plans import generic_plan
from wallets.utils.limits import MAX_BIGINT

# Names of wallets that do not exist or are invalid.
NOBODY = uuid.UUID(int=7)
NONSENSE = "no-uuid"
POSTGRESQL = connection.vendor == "postgresql"


def plain(row: Model) -> dict[str, object]:
    """Return the columns of a row by name."""
    return {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields}


class ReadTestCase(WalletTestCase):
    def queries(self, queries: CaptureQueriesContext) -> int:
        """Return the number of queries without the savepoints of the test case."""
        own = ("SAVEPOINT", "RELEASE")
        return sum(not str(one["sql"]).startswith(own) for one in queries)

    def assert_as_read(self, found: object, expected: Model) -> None:
        """Check that it is equal to the row that Django reads."""
        self.assertIsInstance(found, type(expected))
        assert isinstance(found, Model)
        self.assertEqual(found, expected)
        self.assertEqual(plain(found), plain(expected))
        self.assertFalse(found._state.adding)

    def assert_rows(
        self,
        found: Iterable[TransactionRow] | Iterable[MovementRow],
        expected: Iterable[Model],
    ) -> None:
        """Check that they have the columns of the rows that Django reads."""
        rows = [row._asdict() for row in found]
        for row, one in zip(rows, expected, strict=True):
            self.assertEqual(row, {name: getattr(one, name) for name in row})


class WalletsTest(ReadTestCase):
    def test_are_found_in_the_order_asked_for(self) -> None:
        self.deposit(5)
        asked = [self.bob.uuid, NOBODY, str(self.alice.uuid), NONSENSE, self.bob.uuid]
        bob, nobody, alice, nonsense, again = wallets_by_uuid(asked)
        for one in (nobody, nonsense):
            self.assertIsInstance(one, Wallet.DoesNotExist)
        self.assert_as_read(alice, Wallet.objects.get(pk=self.alice.pk))
        for one in (bob, again):
            self.assert_as_read(one, Wallet.objects.get(pk=self.bob.pk))

    def test_are_one_query_however_many(self) -> None:
        for count in (1, 40):
            with CaptureQueriesContext(connection) as queries:
                wallets_by_uuid([self.alice.uuid, self.bob.uuid] * count)
            self.assertEqual(self.queries(queries), 1)
        with self.assertNumQueries(0):
            self.assertEqual(wallets_by_uuid([]), [])

    def test_are_opened_by_one_statement(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            made = builders.wallets(16, now=self.now)
        # MySQL does not return their ids.
        self.assertLessEqual(self.queries(queries), 1 + (connection.vendor == "mysql"))
        self.assertEqual(len({wallet.uuid for wallet in made}), 16)
        for wallet in made:
            self.assert_as_read(wallet, Wallet.objects.get(uuid=wallet.uuid))
            self.assertEqual((wallet.balance, wallet.created_at), (0, self.now))
        self.assertEqual(builders.wallets(0), [])


class TransactionsTest(ReadTestCase):
    def test_are_found_only_under_their_own_wallet(self) -> None:
        made = self.deposit(5)
        planned = self.due_withdrawal(3, self.bob)
        alice = self.alice.uuid
        hers, his, *others = transactions_by_id(
            [
                (str(alice), made.pk),
                (self.bob.uuid, planned.pk),
                (alice, planned.pk),
                (alice, MAX_BIGINT),
                (alice, 2**70),
                (alice, 0),
                (NOBODY, made.pk),
                (NONSENSE, made.pk),
            ]
        )
        for found, expected in ((hers, made), (his, planned)):
            row = Transaction.objects.select_related("wallet").get(pk=expected.pk)
            self.assert_as_read(found, row)
            with self.assertNumQueries(0):
                self.assert_as_read(found.wallet, row.wallet)
        for other in others:
            self.assertIsInstance(other, Transaction.DoesNotExist)

    def test_are_one_query_however_many(self) -> None:
        asked = [(self.alice.uuid, self.deposit(1).pk) for _ in range(5)]
        for count in (1, 5):
            with CaptureQueriesContext(connection) as queries:
                transactions_by_id(asked[:count])
            self.assertEqual(self.queries(queries), 1)
        with self.assertNumQueries(0):
            self.assertEqual(transactions_by_id([]), [])


class PagesTest(ReadTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number in range(1, 13):
            wallet = (self.alice, self.bob)[number % 2]
            if number % 3:
                self.deposit(number, wallet)
            else:
                self.due_withdrawal(number, wallet)
        self.rows = list(Transaction.objects.order_by("-pk"))

    def expected(self, wallet: Wallet, **conditions: object) -> list[Transaction]:
        rows = Transaction.objects.filter(wallet=wallet, **conditions)
        return list(rows.order_by("-pk"))

    def test_are_the_newest_of_each_wallet(self) -> None:
        carol = WalletService.create()
        before = self.rows[6].pk
        alice, nobody, bob, empty, rest, none = pages(
            [
                PageRequest(self.alice.uuid, count=4),
                PageRequest(NOBODY, count=4),
                PageRequest(str(self.bob.uuid), count=50),
                PageRequest(carol.uuid),
                PageRequest(self.alice.uuid, before=before, count=3),
                PageRequest(self.bob.uuid, before=0),
            ]
        )
        self.assertIsInstance(nobody, Wallet.DoesNotExist)
        self.assertEqual((empty, none), ([], []))
        self.assert_rows(alice, self.expected(self.alice)[:4])
        self.assert_rows(bob, self.expected(self.bob))
        self.assert_rows(rest, self.expected(self.alice, pk__lt=before)[:3])

    def test_have_conditions_of_their_own(self) -> None:
        middle = self.rows[5].created_at
        asked = [
            (
                PageRequest(self.bob.uuid, type="DEPOSIT"),
                {"transaction_type": "DEPOSIT"},
            ),
            (PageRequest(self.bob.uuid, status="PENDING"), {"status": "PENDING"}),
            (
                PageRequest(self.bob.uuid, created_from=middle),
                {"created_at__gte": middle},
            ),
            (PageRequest(self.bob.uuid, created_to=middle), {"created_at__lt": middle}),
            (PageRequest(self.bob.uuid), {}),
        ]
        for found, (_, conditions) in zip(
            pages([one for one, _ in asked]), asked, strict=True
        ):
            self.assert_rows(found, self.expected(self.bob, **conditions))

    @skipUnless(POSTGRESQL, "elsewhere one query for each page")
    def test_are_one_query_however_many(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            pages([PageRequest(self.alice.uuid), PageRequest(self.bob.uuid)] * 8)
        self.assertEqual(self.queries(queries), 1)

    def test_are_none_for_an_empty_list(self) -> None:
        self.assertEqual(pages([]), [])


@skipUnless(POSTGRESQL, "a statement of PostgreSQL's")
class PlanTest(ReadTestCase):
    """A page reads only its own rows, whatever PostgreSQL's statistics are…"""

    def setUp(self) -> None:
        forget_statistics(self)
        super().setUp()

    def plan(self, sql: str) -> str:
        names = (
            "wallets",
            "befores",
            "counts",
            "openings",
            "closings",
            "afters",
            "lasts",
        )
        text = sql.format(**reads_postgresql.COLUMNS)
        return generic_plan(text, {n: "{}" for n in names if f"%({n})s" in sql})

    def assert_read_by_index(self) -> None:
        plan = self.plan(reads_postgresql._PAGES)
        self.assertIn("Backward using transaction_wallet_and_id_unique", plan)
        self.assertNotIn("Sort", plan)
        self.assertNotIn("Seq Scan", plan)

    def test_before_they_were_first_counted(self) -> None:
        self.assert_read_by_index()

    def test_when_each_wallet_had_a_row_or_one_had_all(self) -> None:
        wallets = builders.wallets(300)
        for wallet in wallets:
            builders.deposit(wallet, 1)
        self.analyze()
        self.assert_read_by_index()
        for _ in range(300):
            self.deposit(1)
        self.analyze()
        self.assert_read_by_index()

    def test_of_a_statement_reads_its_own_numbers(self) -> None:
        """At the last ANALYZE each wallet had a row, or one wallet had half of them.

        There are so many rows that PostgreSQL always prefers an index.
        """
        for wallets in (builders.wallets(1000), [self.alice] * 1000):
            deposit_many(
                [DepositRequest(wallet.uuid, 1, uuid.uuid4()) for wallet in wallets]
            )
            self.assert_own_numbers()
            self.analyze()
            self.assert_own_numbers()

    def assert_own_numbers(self) -> None:
        plan = self.plan(reads_postgresql._MOVEMENTS)
        self.assertEqual(plan.count(" movement_sequence_unique"), 3, plan)
        for wrong in ("Seq Scan", "movement_by_time", "Filter: (sequence"):
            self.assertNotIn(wrong, plan)

    def analyze(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE wallets_transaction, wallets_movement")


class StatementPagesTest(ReadTestCase):
    def setUp(self) -> None:
        super().setUp()
        for amount in range(1, 8):
            self.deposit(amount)
            self.deposit(amount, self.bob)

    def numbers(self, page: object) -> list[int]:
        assert isinstance(page, StatementPage), page
        return [movement.sequence for movement in page.movements]

    def test_follow_each_other_to_the_end_of_the_statement_that_was_begun(self) -> None:
        alice = self.alice.uuid
        (first,) = statement_pages([StatementRequest(alice, 3)])
        self.deposit(100)
        self.assertEqual(self.numbers(first), [1, 2, 3])
        self.assertEqual(first.statement, statement_of(self.alice, end=self.later()))
        (second,) = statement_pages(
            [StatementRequest(alice, 3, position=first.following)]
        )
        (third,) = statement_pages(
            [StatementRequest(alice, 3, position=second.following)]
        )
        self.assertEqual(self.numbers(second) + self.numbers(third), [4, 5, 6, 7])
        self.assertIsNone(third.following)
        self.assertEqual(third.statement, first.statement)
        movements = Movement.objects.filter(wallet=self.alice).order_by("sequence")
        self.assert_rows(first.movements, movements[:3])

    def later(self) -> datetime:
        """Return the time of the wallet's last movement, which is left out."""
        last = Movement.objects.filter(wallet=self.alice).order_by("-sequence").first()
        assert last is not None
        return last.created_at

    def test_are_of_many_wallets_and_times(self) -> None:
        carol = WalletService.create()
        middle = Movement.objects.get(wallet=self.bob, sequence=3).created_at
        alice, bob, since, until, empty, nobody = statement_pages(
            [
                StatementRequest(self.alice.uuid, 50),
                StatementRequest(str(self.bob.uuid), 2),
                StatementRequest(self.bob.uuid, 2, start=middle),
                StatementRequest(self.bob.uuid, 2, end=middle),
                StatementRequest(carol.uuid, 2),
                StatementRequest(NOBODY, 2),
            ]
        )
        self.assertEqual(self.numbers(alice), list(range(1, 8)))
        self.assertEqual(alice.statement.closing, Point(7, 28))
        self.assertEqual((self.numbers(bob), bob.following), ([1, 2], [2, 0, 7]))
        self.assertEqual((self.numbers(since), since.following), ([3, 4], [4, 2, 7]))
        self.assertEqual((self.numbers(until), until.following), ([1, 2], None))
        self.assertEqual(until.statement.closing, Point(2, 3))
        self.assertEqual((self.numbers(empty), empty.following), ([], None))
        self.assertEqual(empty.statement.closing, Point(0, 0))
        self.assertIsInstance(nobody, Wallet.DoesNotExist)
        for page, wallet in ((alice, self.alice), (since, self.bob)):
            self.assertEqual(page.wallet.uuid, wallet.uuid)

    def test_refuse_positions_that_they_did_not_give(self) -> None:
        bad = [
            (8, 0, 7),
            (1, 2, 7),
            (2, 3, 1),
            (0, 0, 8),
            (8, 8, 9),
            (0, 0, MAX_BIGINT),
            (MAX_BIGINT,) * 3,
        ]
        found = statement_pages(
            [StatementRequest(self.alice.uuid, 3, position=one) for one in bad]
        )
        for answer in found:
            self.assertIsInstance(answer, UnknownPosition)
        (last,) = statement_pages(
            [StatementRequest(self.alice.uuid, 3, position=(7, 2, 7))]
        )
        self.assertEqual((self.numbers(last), last.following), ([], None))
        self.assertEqual(last.statement.opening, Point(2, 3))

    @skipUnless(POSTGRESQL, "elsewhere a few queries for each page")
    def test_are_two_queries_however_many(self) -> None:
        asked = [StatementRequest(one.uuid, 3) for one in (self.alice, self.bob)]
        position = (2, 0, 7)
        asked.append(StatementRequest(self.bob.uuid, 3, position=position))
        with CaptureQueriesContext(connection) as queries:
            statement_pages(asked * 5)
        self.assertEqual(self.queries(queries), 2)
        with CaptureQueriesContext(connection) as queries:
            asked = [BalanceRequest(self.alice.uuid), BalanceRequest(self.bob.uuid)]
            balances(asked, now=self.now)
        self.assertEqual(self.queries(queries), 2)

    def test_balances_are_those_of_each_moment(self) -> None:
        carol = WalletService.create()
        chance = random.Random(3)
        times = [None, *Movement.objects.values_list("created_at", flat=True)]
        asked = [
            BalanceRequest(chance.choice([self.alice, self.bob, carol]).uuid, at)
            for at in times
        ]
        found = balances([*asked, BalanceRequest(NOBODY)], now=END_OF_TIME)
        self.assertIsInstance(found.pop(), Wallet.DoesNotExist)
        for answer, one in zip(found, asked, strict=True):
            wallet = Wallet.objects.get(uuid=one.wallet)
            at = one.at or END_OF_TIME
            self.assertEqual(answer, (at, balance_at(wallet, at)))

    def test_present_balance_has_the_time_of_its_last_movement_if_that_is_later(
        self,
    ) -> None:
        """It was dated by a clock that is ahead, or after the clock was read."""
        last = Movement.objects.get(wallet=self.alice, sequence=7).created_at
        for now in (last - timedelta(seconds=1), last, last + timedelta(seconds=1)):
            found = balances([BalanceRequest(self.alice.uuid)], now=now)
            self.assertEqual(found, [(max(now, last), Point(7, 28))])
            self.assertEqual(balance_at(self.alice, found[0].at), found[0].point)

    def test_present_balance_leaves_out_what_is_newer_than_its_wallet(self) -> None:
        """A deposit commits between the statements that read wallet and movement."""
        known = current.wallets_by_uuid([self.alice.uuid])
        self.deposit(100)
        with mock.patch.object(balance, "wallets_by_uuid", return_value=known):
            (found,) = balances([BalanceRequest(self.alice.uuid)], now=self.now)
        self.assertEqual(found.point, Point(7, 28))
        self.assertEqual(balance_at(self.alice, found.at), found.point)

    def test_are_right_for_a_wallet_with_a_wrong_count(self) -> None:
        self.books_must_be_right = False
        Wallet.objects.filter(pk=self.alice.pk).update(movement_count=20)
        (page,) = statement_pages([StatementRequest(self.alice.uuid, 3)])
        self.assertEqual(page.statement.closing, Point(7, 28))
        (found,) = balances([BalanceRequest(self.alice.uuid)], now=self.now)
        self.assertEqual(found.point, Point(7, 28))


class CancelOfTest(WalletTestCase):
    """The call that finds and cancels a withdrawal…"""

    def test_finds_it_under_its_wallet(self) -> None:
        withdrawal = self.due_withdrawal(5)
        for _ in range(2):
            done = WithdrawalService.cancel_of(str(self.alice.uuid), withdrawal.pk)
            self.assertEqual((done.pk, done.status), (withdrawal.pk, "CANCELLED"))
            self.assertEqual(done.wallet.uuid, self.alice.uuid)

    def test_refuses_a_deposit(self) -> None:
        with self.assertRaises(NotCancelable):
            WithdrawalService.cancel_of(self.alice.uuid, self.deposit(5).pk)

    def test_finds_it_under_no_other_wallet(self) -> None:
        withdrawal = self.due_withdrawal(5)
        for wallet in (self.bob.uuid, NOBODY, NONSENSE):
            with self.assertRaises(Transaction.DoesNotExist):
                WithdrawalService.cancel_of(wallet, withdrawal.pk)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "PENDING")

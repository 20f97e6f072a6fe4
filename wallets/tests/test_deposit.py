"""Many deposits in one transaction: each has its own answer."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import sleep
from typing import Any
from unittest import mock, skipUnless

from django.db import connection, transaction
from django.test import skipUnlessDBFeature
from django.test.utils import CaptureQueriesContext

from wallets.errors import BalanceLimit, IdempotencyKeyReused
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits import deposit, deposit_group
from wallets.services.deposits.deposit import (
    DepositReceipt,
    DepositRequest,
    deposit_many,
)
from wallets.services.deposits.deposit_batch import deposit_in_steps
from wallets.services.requests import patience
from wallets.services.requests.busy import Busy
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.builders import deposit_receipt
from wallets.utils.database.transactions import lock_rows, run_in_transaction


def asked(wallet: Wallet, amount: int, key: uuid.UUID | None = None) -> DepositRequest:
    return DepositRequest(wallet.uuid, amount, key or uuid.uuid4())


class DepositManyTest(WalletTestCase):
    def test_does_all_in_order(self) -> None:
        requests = [
            asked(wallet, n)
            for n, wallet in enumerate([self.alice, self.bob, self.alice] * 5, start=1)
        ]
        answers = deposit_many(requests)

        self.assertEqual([a.request for a in answers], requests)
        balance = {self.alice.uuid: 0, self.bob.uuid: 0}
        for answer, request in zip(answers, requests, strict=True):
            balance[request.wallet_uuid] += request.amount
            self.assertEqual(answer.balance_after, balance[request.wallet_uuid])
            self.assertFalse(answer.replayed)
            self.assert_stored(answer)
        movements = Movement.objects.filter(wallet=self.alice).order_by("sequence")
        in_the_statement = list(movements.values_list("transaction", flat=True))
        hers = [a.transaction_id for a in answers if a.wallet_id == self.alice.pk]
        self.assertEqual(in_the_statement, hers)

    def assert_stored(self, receipt: DepositReceipt) -> None:
        """The receipt's transaction is the row, column by column, and nothing else."""
        stored = Transaction.objects.get(pk=receipt.transaction_id)
        shown = receipt.transaction
        self.assertEqual(shown.wallet.uuid, receipt.request.wallet_uuid)
        for row in (stored, shown):
            row.__dict__.pop("_state")
        self.assertEqual(shown.__dict__, stored.__dict__)

    def test_writes_nothing_for_an_empty_list(self) -> None:
        self.assertEqual(deposit_many([]), [])

    def test_does_the_good_ones_beside_the_refused(self) -> None:
        used = self.deposit(5).idempotency_key
        self.deposit(MAX_MONEY - 10, self.bob)
        answers = deposit_many(
            [
                asked(self.alice, 1),
                asked(Wallet(uuid=uuid.uuid4()), 2),
                asked(self.alice, 3, used),
                asked(self.bob, 8),
                asked(self.bob, 3),  # beyond the cap: 8 of 10 are used
                asked(self.bob, 2),
                asked(self.alice, 4),
            ]
        )
        self.assertEqual(
            [type(answer) for answer in answers],
            [
                DepositReceipt,
                Wallet.DoesNotExist,
                IdempotencyKeyReused,
                DepositReceipt,
                BalanceLimit,
                DepositReceipt,
                DepositReceipt,
            ],
        )
        self.assert_money(self.alice, balance=10)
        self.assert_money(self.bob, balance=MAX_MONEY)

    def test_replays_what_was_made_before(self) -> None:
        made = self.deposit(5)
        self.deposit(7)
        (again,) = deposit_many([asked(self.alice, 5, made.idempotency_key)])
        self.assertTrue(again.replayed)
        self.assertEqual((again.transaction_id, again.balance_after), (made.pk, 5))
        self.assert_stored(again)
        self.assert_money(self.alice, balance=12)

    def test_sees_a_key_twice_in_one_batch(self) -> None:
        key = uuid.uuid4()
        first, again, other = deposit_many(
            [
                asked(self.alice, 5, key),
                asked(self.alice, 5, key),
                asked(self.alice, 6, key),
            ]
        )
        self.assertEqual((first.replayed, again.replayed), (False, True))
        self.assertEqual(again, first._replace(request=again.request, replayed=True))
        self.assertIsInstance(other, IdempotencyKeyReused)
        self.assert_money(self.alice, balance=5)

    def test_does_not_consume_a_refused_ones_key(self) -> None:
        key = uuid.uuid4()
        refused, done = deposit_many(
            [asked(Wallet(uuid=uuid.uuid4()), 5, key), asked(self.alice, 5, key)]
        )
        self.assertIsInstance(refused, Wallet.DoesNotExist)
        self.assertEqual((done.request.amount, done.replayed), (5, False))

    @marks.slow
    def test_does_a_thousand_in_few_statements(self) -> None:
        requests = [asked((self.alice, self.bob)[n % 2], 1) for n in range(1000)]
        with CaptureQueriesContext(connection) as queries:
            answers = deposit_many(requests)
        if connection.vendor == "postgresql":
            # Two savepoint statements are of the test case.
            self.assertLessEqual(len(queries), 7, queries.captured_queries)
        self.assertEqual(len({answer.transaction_id for answer in answers}), 1000)
        self.assertEqual(Movement.objects.filter(wallet=self.alice).count(), 500)
        self.assert_money(self.bob, balance=500)


class ConcurrentDepositTest(CommittingTestCase):
    def in_threads(self, *works: Callable[[], Any]) -> list[Any]:
        """Run the works at once; return their results or exceptions, in order."""
        results: list[Any] = [None] * len(works)
        start = threading.Barrier(len(works))

        def run(number: int) -> None:
            try:
                start.wait(30)
                results[number] = works[number]()
            except Exception as error:  # noqa: BLE001 (every error is a result)
                results[number] = error
            finally:
                close_connections()

        threads = [threading.Thread(target=run, args=[n]) for n in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    def test_is_made_once_for_one_key(self) -> None:
        key = uuid.uuid4()
        made = self.in_threads(
            *[lambda: deposit_receipt(self.alice.uuid, 5, key) for _ in range(10)]
        )
        self.assertEqual(len({answer.transaction_id for answer in made}), 1)
        self.assertEqual([answer.replayed for answer in made].count(False), 1)
        self.assert_money(self.alice, balance=5)

    @marks.slow
    def test_gives_each_thread_its_own_answer(self) -> None:
        def work(amount: int) -> Callable[[], Transaction]:
            wallet = self.bob if amount % 3 == 0 else self.alice
            return lambda: WalletService.deposit(wallet.uuid, amount)

        answers = self.in_threads(
            *[work(amount) for amount in range(1, 12)],
            lambda: WalletService.deposit(uuid.uuid4(), 1),
        )
        self.assertEqual([a.amount for a in answers[:-1]], list(range(1, 12)))
        self.assertIsInstance(answers[-1], Wallet.DoesNotExist)
        self.assert_money(self.alice, balance=66 - 18)
        self.assert_money(self.bob, balance=18)

    @marks.slow
    def test_does_not_deadlock_with_bulk_in_another_order(self) -> None:
        wallets = [self.alice, self.bob, *(WalletService.create() for _ in range(3))]

        def bulk(order: list[Wallet]) -> Callable[[], list[Any]]:
            return lambda: [
                deposit_many([asked(wallet, 1) for wallet in order]) for _ in range(5)
            ]

        answers = self.in_threads(
            bulk(wallets),
            bulk(wallets[::-1]),
            *[
                lambda wallet=wallet: [
                    WalletService.deposit(wallet.uuid, 1) for _ in range(5)
                ]
                for wallet in wallets
            ],
        )
        self.assertEqual([len(answer) for answer in answers], [5] * 7, answers)
        for wallet in wallets:
            self.assert_money(wallet, balance=15)

    @skipUnlessDBFeature("has_select_for_update_skip_locked")
    def test_does_not_wait_for_a_locked_wallet(self) -> None:
        """Alice's wallet is locked: her answer is `Busy`, and Bob's deposit is made."""
        with transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=self.alice.pk))
            (answers,) = self.in_threads(
                lambda: deposit_many(
                    [asked(self.alice, 1), asked(self.bob, 2)], wait=False
                )
            )
        self.assertIsInstance(answers[0], Busy)
        self.assertEqual(answers[1].balance_after, 2)
        self.assert_money(self.alice, balance=0)

    @skipUnlessDBFeature("has_select_for_update_skip_locked")
    def test_counts_the_first_with_a_key_also_when_it_has_to_wait(self) -> None:
        """The wallet of the other one is free, or is alice's, whom somebody holds."""
        for first, second, results in (
            (self.alice, self.bob, (Busy, Busy)),
            (self.bob, self.alice, (DepositReceipt, IdempotencyKeyReused)),
        ):
            key = uuid.uuid4()
            some = [asked(first, 1, key), asked(second, 1, key)]
            steps = partial(deposit_in_steps, some, wait=False)
            with transaction.atomic():
                lock_rows(Wallet.objects.filter(pk=self.alice.pk))
                (answers,) = self.in_threads(partial(run_in_transaction, steps))
            self.assertEqual(tuple(map(type, answers)), results)
        self.assert_money(self.bob, balance=1)


class DepositGroupTest(CommittingTestCase):
    """A group of deposits…"""

    def setUp(self) -> None:
        super().setUp()
        self.group = deposit_group.DepositGroup()
        self.asked = [asked(self.alice, 1), asked(self.bob, 2)]

    def together(self, requests: list[DepositRequest]) -> list[Any]:
        return self.group.deposit(requests)

    def begin(self, pool: ThreadPoolExecutor) -> Future[list[Any]]:
        """Make the group's deposits in a thread."""

        def work() -> list[Any]:
            try:
                return self.together(self.asked)
            finally:
                close_connections()

        return pool.submit(work)

    def test_answers_each(self) -> None:
        unknown = asked(Wallet(uuid=uuid.uuid4()), 3)
        one, two, three = self.together([*self.asked, unknown])
        self.assertEqual((one.balance_after, two.balance_after), (1, 2))
        self.assertIsInstance(three, Exception)

    @skipUnlessDBFeature("has_select_for_update_skip_locked")
    def test_leaves_out_a_locked_wallet(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            for balance in (2, 4):
                with transaction.atomic():
                    lock_rows(Wallet.objects.filter(pk=self.alice.pk))
                    hers, his = self.begin(pool).result(timeout=60)
                self.assertIsInstance(hers, Busy)
                self.assertEqual(his.balance_after, balance)
                self.asked = [asked(self.alice, 1), asked(self.bob, 2)]
        self.assert_money(self.alice, balance=0)

    @skipUnlessDBFeature("has_select_for_update_skip_locked")
    def test_waits_a_moment_for_a_locked_wallet(self) -> None:
        """Mostly another process's group holds it, for milliseconds."""
        with (
            mock.patch.object(patience, "LOCK_WAIT_SECONDS", 30),
            ThreadPoolExecutor(1) as pool,
        ):
            with transaction.atomic():
                lock_rows(Wallet.objects.filter(pk=self.alice.pk))
                answers = self.begin(pool)
                while not (self.waits() or answers.done()):
                    sleep(0.05)
                self.assertFalse(answers.done())
            hers, his = answers.result(timeout=60)
        self.assertEqual((hers.balance_after, his.balance_after), (1, 2))

    @skipUnless(connection.vendor == "postgresql", "another statement elsewhere")
    def test_does_not_wait_again_soon_after_a_wait_in_vain(self) -> None:
        with (
            mock.patch.object(deposit_group, "run_unless_locked") as run,
            mock.patch.object(patience.clock, "elapsed") as elapsed,
        ):
            run.return_value = None
            for now, waits in (
                (1000, [False, True]),
                (1001, [True]),
                (1001.1, [False, True]),
            ):
                run.reset_mock()
                elapsed.return_value = now
                self.together([asked(self.alice, 1)])
                skipped = [
                    call.args[0].keywords["skip_locked"] for call in run.mock_calls
                ]
                self.assertEqual(skipped, waits)

    def waits(self) -> bool:
        """Whether the group waits for a lock of this thread, or polls it."""
        if connection.vendor == "mysql":
            sleep(0.2)
            return True
        return somebody_waits()

    @skipUnlessDBFeature("has_select_for_update_nowait")
    def test_does_not_wait_long_for_a_key_in_use(self) -> None:
        """The row of the key is not committed, so its result is not known."""
        key = uuid.uuid4()
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            Transaction.objects.create(
                wallet=self.alice,
                transaction_type="DEPOSIT",
                amount=1,
                status="COMPLETED",
                executed_at=self.now,
                created_at=self.now,
                idempotency_key=key,
            )
            self.asked = [asked(self.alice, 1, key), asked(self.bob, 2)]
            answers = self.begin(pool).result(timeout=4)
            transaction.set_rollback(True)
        self.assertIsInstance(answers[0], Busy)
        self.assertEqual(answers[1].balance_after, 2)
        self.assert_money(self.alice, balance=0)

    @skipUnless(connection.vendor == "postgresql", "a statement of PostgreSQL's")
    def test_locks_wallets_in_the_order_of_their_ids(self) -> None:
        """While the group waits for the first wallet, it has not locked later ones."""
        self.asked.reverse()
        with ThreadPoolExecutor(1) as pool, self.waits_for_alice(pool) as answers:
            bobs = Wallet.objects.filter(pk=self.bob.pk)
            self.assertEqual(len(lock_rows(bobs, skip_locked=True)), 1)
        amounts = [one.request.amount for one in answers.result(timeout=60)]
        self.assertEqual(amounts, [2, 1])

    @skipUnless(connection.vendor == "postgresql", "a statement of PostgreSQL's")
    def test_locks_them_in_this_order_however_the_table_is_read(self) -> None:
        """A small table is read in physical order: the last changed row comes last."""
        others = Wallet.objects.bulk_create([Wallet() for _ in range(300)])
        Wallet.objects.filter(pk=self.alice.pk).update(updated_at=self.now)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE wallets_wallet")
        self.asked += [asked(other, 3) for other in others[:100]]
        with ThreadPoolExecutor(1) as pool, self.waits_for_alice(pool) as answers:
            bobs = Wallet.objects.filter(pk=self.bob.pk)
            self.assertEqual(len(lock_rows(bobs, skip_locked=True)), 1)
        amounts = [one.request.amount for one in answers.result(timeout=60)]
        self.assertEqual(amounts[:3], [1, 2, 3])

    @skipUnless(connection.vendor == "postgresql", "a statement of PostgreSQL's")
    def test_leaves_out_a_wallet_that_another_has_filled_meanwhile(self) -> None:
        with ThreadPoolExecutor(1) as pool, self.waits_for_alice(pool) as answers:
            deposit.deposit_in_steps([asked(self.alice, MAX_MONEY)])
        hers, his = answers.result(timeout=60)
        self.assertIsInstance(hers, BalanceLimit)
        self.assertEqual(his.balance_after, 2)
        self.assert_money(self.alice, balance=MAX_MONEY)

    @contextmanager
    def waits_for_alice(self, pool: ThreadPoolExecutor) -> Iterator[Future[list[Any]]]:
        """Lock Alice's wallet during the block, while the group waits for it."""
        patient = mock.patch.object(patience, "LOCK_WAIT_SECONDS", 30)
        with patient, transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=self.alice.pk))
            answers = self.begin(pool)
            while not (somebody_waits() or answers.done()):
                sleep(0.05)
            self.assertFalse(answers.done())
            yield answers

    def test_makes_the_others_where_one_wallet_is_damaged(self) -> None:
        self.books_must_be_right = False
        self.deposit(1)
        Wallet.objects.filter(pk=self.alice.pk).update(movement_count=0)
        with self.assertLogs("wallets.services.requests.group", "ERROR"):
            hers, his = self.together(self.asked)
        self.assertIsInstance(hers, Busy)
        self.assertEqual(his.balance_after, 2)


class OneOfAGroupTest(CommittingTestCase):
    """A problem of one request in sixty-four costs few further transactions…"""

    # The group, its halves, and their halves, until the request is alone.
    MOST = 2 * 6 + 1

    def setUp(self) -> None:
        super().setUp()
        self.wallets = Wallet.objects.bulk_create([Wallet() for _ in range(63)])
        self.wallets = list(Wallet.objects.exclude(pk=self.alice.pk)[:63])
        self.group = deposit_group.DepositGroup()

    def together(self, one: DepositRequest) -> tuple[Any, int]:
        """Make all deposits; return the answer to `one`, and the number of tries."""
        requests = [asked(wallet, 1) for wallet in self.wallets]
        requests.insert(40, one)
        tried = 0
        real = self.group._deposit

        def count(some: Any, **options: Any) -> Any:
            nonlocal tried
            tried += 1
            return real(some, **options)

        with mock.patch.object(self.group, "_deposit", count):
            answers = self.group.deposit(requests)
        (answer,) = [answers.pop(40)]
        made = [isinstance(one, DepositReceipt) for one in answers]
        self.assertTrue(all(made), answers)
        return answer, tried

    def test_for_an_unknown_wallet(self) -> None:
        with CaptureQueriesContext(connection) as usual:
            self.together(asked(self.alice, 1))
        with CaptureQueriesContext(connection) as queries:
            answer, tried = self.together(asked(Wallet(uuid=uuid.uuid4()), 1))
        self.assertIsInstance(answer, Exception)
        self.assertEqual(tried, 1)
        # There is one more short transaction, for the request that is left.
        self.assertLessEqual(len(queries), len(usual) + 7)

    def test_for_a_refused_value_or_a_key_that_was_used(self) -> None:
        used = self.deposit(5).idempotency_key
        self.deposit(MAX_MONEY - 5)
        for one in (asked(self.alice, 7), asked(self.alice, 6, used)):
            answer, tried = self.together(one)
            self.assertIsInstance(answer, Exception)
            self.assertEqual(tried, 1)

    @skipUnlessDBFeature("has_select_for_update_nowait")
    def test_for_a_key_in_use(self) -> None:
        key = uuid.uuid4()
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            deposit_in_steps([asked(self.alice, 1, key)])

            def work() -> tuple[Any, int]:
                try:
                    return self.together(asked(self.bob, 1, key))
                finally:
                    close_connections()

            self.wallets = [one for one in self.wallets if one.pk != self.bob.pk]
            answer, tried = pool.submit(work).result(timeout=60)
        self.assertIsInstance(answer, Busy)
        self.assertLessEqual(tried, self.MOST)

    @marks.slow
    def test_for_damaged_rows(self) -> None:
        self.books_must_be_right = False
        self.deposit(1)
        Wallet.objects.filter(pk=self.alice.pk).update(movement_count=0)
        with self.assertLogs("wallets.services.requests.group", "ERROR") as logs:
            answer, tried = self.together(asked(self.alice, 1))
        self.assertIsInstance(answer, Busy)
        self.assertLessEqual(tried, self.MOST)
        self.assertEqual(len(logs.output), 1)


class OneOfABulkTest(CommittingTestCase):
    @skipUnlessDBFeature("has_select_for_update_skip_locked")
    def test_that_waits_for_its_wallet_locks_no_other_wallet(
        self,
    ) -> None:
        """The request waits for Alice's wallet, and locks no other one meanwhile."""
        requests = [asked(self.bob, 1), asked(self.alice, 1)]
        carol = WalletService.create()
        requests.append(asked(carol, 1))

        def work() -> list[Any]:
            try:
                return deposit_many(requests)
            finally:
                close_connections()

        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                lock_rows(Wallet.objects.filter(pk=self.alice.pk))
                answers = pool.submit(work)
                while not (Movement.objects.exists() or answers.done()):
                    sleep(0.05)
                others = Wallet.objects.filter(pk__in=[self.bob.pk, carol.pk])
                free = lock_rows(others.order_by("pk"), skip_locked=True)
                self.assertEqual(len(free), 2)
                self.assertFalse(answers.done())
            self.assertEqual(len(answers.result(timeout=60)), 3)
        self.assert_money(self.alice, balance=1)


def somebody_waits() -> bool:
    """Whether another session of PostgreSQL waits for a lock of this one."""
    sql = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted "
        "AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] > 0


@skipUnless(connection.vendor == "postgresql", "a statement of PostgreSQL's")
class DepositStatementTest(WalletTestCase):
    def test_leaves_each_wallet_on_its_page(self) -> None:
        """An update on the same page needs no new entry in an index."""
        wallets = Wallet.objects.bulk_create([Wallet() for _ in range(200)])
        before = self.pages()
        deposit_many([asked(wallet, 1) for wallet in wallets[::2]])
        self.assertEqual(self.pages(), before)

    def pages(self) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, (ctid::text::point)[0] FROM wallets_wallet ORDER BY id"
            )
            return cursor.fetchall()

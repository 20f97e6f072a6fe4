"""Transfers: both halves or none, in order, whoever else is at work."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import sleep
from typing import Any
from unittest import mock, skipIf, skipUnless

from django.db import DatabaseError, connection, transaction

from wallets.errors import (
    BalanceLimit,
    CurrencyMismatch,
    IdempotencyKeyReused,
    InsufficientBalance,
    InvalidAmount,
    InvalidInput,
    LostRace,
    WalletClosed,
    WalletFrozen,
    WalletNotEmpty,
)
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Account, Movement
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.requests.busy import Busy
from wallets.services.requests.checks import UnknownWallet
from wallets.services.transfers import transfer as transfer_module
from wallets.services.transfers import transfer_batch, transfer_whole
from wallets.services.transfers.transfer import (
    TransferGroup,
    TransferReceipt,
    TransferRequest,
    transfer,
    transfer_many,
)
from wallets.services.transfers.transfer_batch import TransferResult
from wallets.services.transfers.transfer_whole import TransferWhole
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.tests import marks
from wallets.tests.base import (
    OSCAR,
    CommittingTestCase,
    WalletTestCase,
    close_connections,
)
from wallets.tests.builders import wallet_with
from wallets.tests.marks import slow
from wallets.tests.races import FEW, race, rounds
from wallets.tests.raw import update
from wallets.utils.caller import ANYBODY
from wallets.utils.database.errors import is_lock_timeout
from wallets.utils.database.transactions import lock_rows


def asked(
    source: Wallet, target: Wallet, amount: int, key: uuid.UUID | None = None
) -> TransferRequest:
    return TransferRequest(source.uuid, target.uuid, amount, key or uuid.uuid4())


# What a wallet may have that refuses some of its transfers.
ODD = (
    {"currency": "JPY"},
    {"frozen_in": True},
    {"frozen_out": True},
    {"closed": True},
    {},
)


def kinds(answers: list[Any]) -> list[type]:
    return [type(answer) for answer in answers]


class TransferTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)

    def test_moves_the_money_at_once(self) -> None:
        made = transfer(self.alice.uuid, self.bob.uuid, 30, now=self.now)
        self.assert_money(self.alice, balance=70)
        self.assert_money(self.bob, balance=30)
        stored = Transfer.objects.get()
        self.assertEqual(stored.uuid, made.uuid)
        self.assertEqual(
            (stored.from_wallet, stored.to_wallet, stored.amount, stored.created_at),
            (self.alice, self.bob, 30, self.now),
        )

    def test_is_two_movements_of_one_transfer(self) -> None:
        made = transfer(self.alice.uuid, self.bob.uuid, 30)
        out, into = Movement.objects.filter(transfer=made.uuid).order_by("pk")
        self.assertEqual((out.kind, out.change), ("transfer_out", -30))
        self.assertEqual((into.kind, into.change), ("transfer_in", 30))
        self.assertEqual((out.to_account, into.from_account), (Account.CLEARING,) * 2)
        self.assertEqual((out.transaction, into.transaction), (made.debit, made.credit))

    def test_has_a_completed_transaction_in_each_wallet(self) -> None:
        made = transfer(self.alice.uuid, self.bob.uuid, 30, now=self.now)
        for half, wallet, kind in (
            (made.debit, self.alice, "TRANSFER_OUT"),
            (made.credit, self.bob, "TRANSFER_IN"),
        ):
            with self.subTest(kind):
                self.assertEqual((half.wallet, half.transaction_type), (wallet, kind))
                self.assertEqual((half.status, half.amount), ("COMPLETED", 30))
                self.assertEqual(half.executed_at, self.now)
                self.assertFalse(half.cancelable)

    def test_refuses_before_anything_is_written_in_a_fixed_order(self) -> None:
        nobody = Wallet(uuid=uuid.uuid4())
        full = wallet_with(MAX_MONEY)
        foreign, closed, gives_none, takes_none = (
            self.wallet_that(has)
            for has in (
                {"currency": "JPY"},
                {"closed": True},
                {"frozen_out": True},
                {"frozen_in": True},
            )
        )
        for request, refusal, field in (
            (asked(nobody, nobody, 0), InvalidAmount, "amount"),
            (asked(nobody, nobody, MAX_MONEY + 1), InvalidAmount, "amount"),
            (asked(nobody, nobody, 1), InvalidInput, "to"),
            (asked(nobody, Wallet(uuid=uuid.uuid4()), 1), UnknownWallet, "from"),
            (asked(self.alice, nobody, 1000), UnknownWallet, "to"),
            (asked(closed, foreign, 1000), CurrencyMismatch, ""),
            (asked(closed, takes_none, 1000), WalletClosed, ""),
            (asked(gives_none, closed, 1000), WalletFrozen, ""),
            (asked(self.alice, closed, 1000), WalletClosed, ""),
            (asked(self.alice, takes_none, 1000), WalletFrozen, ""),
            (asked(self.alice, full, 101), InsufficientBalance, ""),
            (asked(self.alice, full, 1), BalanceLimit, ""),
        ):
            with self.subTest(refusal.__name__, field=field):
                (answer,) = transfer_many([request])
                self.assertIs(type(answer), refusal)
                self.assertEqual(getattr(answer, "field", ""), field)
        self.assertFalse(Transfer.objects.exists())
        self.assertEqual(Transaction.objects.count(), 2)

    def test_refuses_what_only_one_rule_forbids(self) -> None:
        """The payer has the money, so no other rule hides that this one is missing."""
        closed = self.wallet_that({"closed": True})
        (answer,) = transfer_many([asked(self.alice, closed, 1)])
        self.assertIsInstance(answer, WalletClosed)
        for has, of_payer, of_payee in (
            ({"currency": "JPY"}, CurrencyMismatch, CurrencyMismatch),
            ({"frozen_out": True}, WalletFrozen, TransferReceipt),
            ({"frozen_in": True}, TransferReceipt, WalletFrozen),
        ):
            odd = wallet_with(100)
            update(Wallet, odd.pk, has)
            with self.subTest(has):
                (paid,) = transfer_many([asked(odd, self.bob, 1)])
                (got,) = transfer_many([asked(self.alice, odd, 1)])
                self.assertEqual(kinds([paid, got]), [of_payer, of_payee])
        self.assertEqual(Transfer.objects.count(), 2)

    def wallet_that(self, has: dict[str, Any]) -> Wallet:
        wallet = WalletService.create()
        update(Wallet, wallet.pk, has)
        return wallet

    def test_moves_money_out_of_a_wallet_that_takes_none_and_the_reverse(self) -> None:
        update(Wallet, self.alice.pk, {"frozen_in": True})
        update(Wallet, self.bob.pk, {"frozen_out": True})
        transfer(self.alice.uuid, self.bob.uuid, 1)
        self.assert_money(self.bob, balance=1)

    def test_does_not_say_what_the_other_wallet_has(self) -> None:
        full = wallet_with(MAX_MONEY - 7)
        (answer,) = transfer_many([asked(self.alice, full, 8)])
        self.assertIsInstance(answer, BalanceLimit)
        self.assertNotIn(str(MAX_MONEY - 7), str(answer))

    def test_raises_what_refuses_it(self) -> None:
        with self.assertRaises(InsufficientBalance):
            transfer(self.alice.uuid, self.bob.uuid, 101)
        with self.assertRaises(Wallet.DoesNotExist):
            transfer(self.alice.uuid, "nobody", 1)

    def test_does_not_take_what_is_held(self) -> None:
        Wallet.objects.filter(pk=self.alice.pk).update(balance=40, held=60)
        self.books_must_be_right = False
        (answer,) = transfer_many([asked(self.alice, self.bob, 41)])
        self.assertIsInstance(answer, InsufficientBalance)

    def test_leaves_the_other_wallet_room_for_what_it_holds(self) -> None:
        Wallet.objects.filter(pk=self.bob.pk).update(held=MAX_MONEY - 5)
        self.books_must_be_right = False
        answers = transfer_many(
            [asked(self.alice, self.bob, 6), asked(self.alice, self.bob, 5)]
        )
        self.assertEqual(kinds(answers), [BalanceLimit, TransferReceipt])


class TransferManyTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)

    def test_makes_none_of_none(self) -> None:
        self.assertEqual(transfer_many([]), [])

    def test_checks_each_against_the_balances_after_those_before(self) -> None:
        carol = WalletService.create()
        answers = transfer_many(
            [
                asked(self.bob, carol, 1),  # nothing yet
                asked(self.alice, self.bob, 60),
                asked(self.alice, self.bob, 60),  # 40 left
                asked(self.bob, carol, 60),
                asked(carol, self.alice, 60),
                asked(self.alice, self.bob, 100),
            ]
        )
        self.assertEqual(
            kinds(answers),
            [InsufficientBalance, TransferReceipt, InsufficientBalance]
            + [TransferReceipt] * 3,
        )
        self.assertEqual(
            [one.balance_after for one in answers if isinstance(one, TransferReceipt)],
            [40, 0, 0, 0],
        )
        self.assert_money(self.bob, balance=100)
        self.assert_money(carol, balance=0)

    def test_shows_the_balances_in_the_order_of_the_requests(self) -> None:
        """Also if one of them succeeds only because of one before it."""
        carol = WalletService.create()
        answers = transfer_many(
            [
                asked(self.alice, self.bob, 10),
                asked(self.bob, carol, 5),
                asked(self.alice, carol, 20),
            ]
        )
        self.assertEqual([one.balance_after for one in answers], [90, 5, 70])

    def test_replays_what_was_made_before(self) -> None:
        key = uuid.uuid4()
        (first,) = transfer_many([asked(self.alice, self.bob, 30, key)])
        self.deposit(1)
        (again,) = transfer_many([asked(self.alice, self.bob, 30, key)])
        self.assertEqual(again.transfer.uuid, first.transfer.uuid)
        self.assertEqual((again.balance_after, again.replayed), (70, True))
        self.assertFalse(first.replayed)

    def test_refuses_a_key_that_stands_for_another_request(self) -> None:
        carol = WalletService.create()
        made = transfer(self.alice.uuid, self.bob.uuid, 30)
        key = made.debit.idempotency_key
        for request in (
            asked(self.alice, self.bob, 31, key),
            asked(self.alice, carol, 30, key),
            asked(self.bob, self.alice, 30, key),
            asked(self.bob, carol, 30, made.credit.idempotency_key),
            asked(self.alice, self.bob, 100, self.deposit(100).idempotency_key),
        ):
            with self.subTest(request):
                (answer,) = transfer_many([request])
                self.assertIsInstance(answer, IdempotencyKeyReused)
        for key in (made.debit.idempotency_key, made.credit.idempotency_key):
            (answer,) = deposit_many([DepositRequest(self.alice.uuid, 30, key)])
            self.assertIsInstance(answer, IdempotencyKeyReused)

    def test_sees_a_key_twice_in_one_batch(self) -> None:
        key = uuid.uuid4()
        carol = WalletService.create()
        first, again, other, elsewhere = transfer_many(
            [
                asked(self.alice, self.bob, 5, key),
                asked(self.alice, self.bob, 5, key),
                asked(self.alice, self.bob, 6, key),
                asked(self.alice, carol, 5, key),
            ]
        )
        self.assertEqual(first.transfer.uuid, again.transfer.uuid)
        self.assertTrue(again.replayed)
        self.assertIsInstance(other, IdempotencyKeyReused)
        self.assertIsInstance(elsewhere, IdempotencyKeyReused)
        self.assert_money(self.bob, balance=5)

    def test_does_not_use_up_the_key_of_a_refused_request(self) -> None:
        key = uuid.uuid4()
        request = asked(self.alice, self.bob, 101, key)
        (refused,) = transfer_many([request])
        self.assertIsInstance(refused, InsufficientBalance)
        self.deposit(1)
        (made,) = transfer_many([request])
        self.assertFalse(made.replayed)

    def test_is_made_again_as_a_whole_when_a_key_was_taken_meanwhile(self) -> None:
        """Later requests may have been accepted because of its money."""
        key = self.deposit(1).idempotency_key
        carol = WalletService.create()
        requests = [
            asked(self.alice, self.bob, 50, key),
            asked(self.bob, carol, 50),
        ]
        with (
            mock.patch.object(transfer_batch.idempotency, "find_made", return_value={}),
            mock.patch.object(
                transfer_batch.idempotency,
                "insert_new",
                side_effect=self.leave_out(key),
            ),
            self.assertRaises(LostRace),
        ):
            transfer_many(requests)

    def leave_out(self, key: uuid.UUID) -> Callable[[Any], Any]:
        """Return `insert_new`, as if another transaction had taken the key before."""

        def insert(rows: list[Transaction]) -> dict[uuid.UUID, Transaction]:
            for row in rows:
                row.pk = None if row.idempotency_key == key else 10**6
            return {key: Transaction.objects.get(idempotency_key=key)}

        return insert

    @marks.slow
    def test_has_the_results_of_single_transfers(self) -> None:
        chance = random.Random(11)
        amounts = [0, 1, 40, 60, 100, MAX_MONEY - 50]
        for _ in range(20):
            drawn = [
                (*chance.choices(range(3), k=3), chance.choice(amounts))
                for _ in range(8)
            ]
            with self.subTest(drawn=drawn):
                self.assertEqual(
                    self.results_of(drawn, at_once=True),
                    self.results_of(drawn, at_once=False),
                )

    def watched(self) -> Any:
        """Watch whether anything is done in steps."""
        wraps = transfer_batch.transfer_in_steps
        return mock.patch.object(transfer_module, "transfer_in_steps", wraps=wraps)

    def results_of(
        self,
        drawn: list[tuple[int, int, int, int]],
        *,
        at_once: bool,
        odd: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Make transfers between new wallets; return results, balances, statements.

        `odd`: columns of the last wallet.
        """
        last = 10 if odd is not None and not odd else 0
        wallets = [wallet_with(100), wallet_with(MAX_MONEY - 20), wallet_with(last)]
        if odd:
            update(Wallet, wallets[-1].pk, odd)
        keys = [uuid.uuid4() for _ in range(8)]
        requests = [
            asked(wallets[source], wallets[target], amount, keys[key])
            for source, target, key, amount in drawn
        ]
        answers = (
            transfer_many(requests)
            if at_once
            else [transfer_many([one])[0] for one in requests]
        )
        results: list[Any] = []
        for answer in answers:
            if isinstance(answer, Exception):
                said = str(answer)
                for number, wallet in enumerate(wallets):
                    said = said.replace(str(wallet.uuid), f"wallet {number}")
                results.append((type(answer), said))
            else:
                results.append((answer.balance_after, answer.replayed))
        for wallet in wallets:
            wallet.refresh_from_db()
            results.append((wallet.balance, wallet.movement_count))
            movements = wallet.movements.order_by("sequence")
            results += movements.values_list(
                "sequence", "kind", "amount", "balance_after"
            )
        return results

    @skipUnless(connection.vendor == "postgresql", "the fast path is PostgreSQL's")
    def test_makes_none_in_one_statement_if_a_wallet_is_unknown(self) -> None:
        one, other, nobody = wallet_with(100), wallet_with(0), Wallet()
        good = asked(one, other, 1)
        for bad in (asked(nobody, one, 1), asked(one, nobody, 1)):
            numbered = {0: good, 1: bad}
            made = transfer_module.transfer_at_once(numbered, whole=True)
            self.assertEqual(made, {})
        self.assertEqual(
            [*transfer_module.transfer_at_once(numbered, whole=False)], [0]
        )

    @skipUnless(connection.vendor == "postgresql", "the fast path is PostgreSQL's")
    def test_has_the_same_results_in_one_statement_and_in_steps(self) -> None:
        chance = random.Random(13)
        done = 0
        for _ in range(60):
            few = chance.random() < 0.7  # mostly all succeed
            amounts = [1, 2, 3] if few else [1, 40, 60, 100, MAX_MONEY - 50]
            keys = range(8) if few else range(3)
            drawn = [
                (
                    *chance.sample(range(3), 2),
                    chance.choice(keys),
                    chance.choice(amounts),
                )
                for _ in range(chance.randint(1, 6))
            ]
            odd = {} if few else chance.choice(ODD)
            with self.subTest(drawn=drawn, odd=odd):
                with self.watched() as in_steps:
                    fast = self.results_of(drawn, at_once=True, odd=odd)
                done += not in_steps.called
                steps = mock.patch.object(
                    transfer_module, "transfer_at_once", return_value={}
                )
                with steps:
                    self.assertEqual(
                        self.results_of(drawn, at_once=True, odd=odd), fast
                    )
        self.assertGreater(done, 10, "hardly one was made in one statement")


@skipIf(connection.vendor == "sqlite", "SQLite locks no rows")
class LockedTest(CommittingTestCase):
    """A wallet that another transaction locks."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        self.carol, self.dave = wallet_with(100), wallet_with(0)

    def while_locked(self, wallet: Wallet, work: Callable[[], Any]) -> Any:
        with transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=wallet.pk))
            (answer,) = race(work)
        return answer

    def test_delays_no_other_transfer(self) -> None:
        requests = [
            asked(self.alice, self.bob, 1),
            asked(self.carol, self.dave, 2),
            asked(self.carol, self.alice, 3),
        ]
        for make in (partial(transfer_many, wait=False), TransferGroup().transfer):
            answers = self.while_locked(self.alice, partial(make, requests))
            self.assertEqual(kinds(answers), [Busy, TransferReceipt, Busy])
            requests[1] = asked(self.carol, self.dave, 2)

    def test_is_not_an_unknown_wallet(self) -> None:
        nobody = Wallet(uuid=uuid.uuid4())
        request = asked(self.alice, nobody, 1)
        (answer,) = self.while_locked(
            self.alice, partial(transfer_many, [request], wait=False)
        )
        self.assertIsInstance(answer, UnknownWallet)

    def test_delays_only_the_transfer_with_a_key_in_use(self) -> None:
        key = uuid.uuid4()
        requests = [
            asked(self.carol, self.dave, 1, key),
            asked(self.carol, self.dave, 2),
        ]

        def in_use() -> Any:
            with transaction.atomic():
                transfer_batch.transfer_in_steps([asked(self.alice, self.bob, 1, key)])
                (answers,) = race(partial(TransferGroup().transfer, requests))
            return answers

        first, second = in_use()
        self.assertIsInstance(first, Busy)
        self.assertIsInstance(second, TransferReceipt)
        (answer,) = transfer_many(requests[:1])
        self.assertIsInstance(answer, IdempotencyKeyReused)


@skipUnless(connection.vendor == "postgresql", "the others ask again later")
class ArrayOfALockedWalletTest(CommittingTestCase):
    """An array of transfers, one of whose wallets is locked…"""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        self.whole = TransferWhole()

    def make(self) -> list[TransferResult]:
        requests = [asked(self.alice, self.bob, 1), asked(self.bob, self.alice, 1)]
        return self.whole.transfer(requests, caller=ANYBODY)

    def lock(self) -> None:
        lock_rows(Wallet.objects.filter(pk=self.alice.pk))

    def waiting(self) -> bool:
        with connection.cursor() as cursor:
            # Otherwise a transaction sees the same activity to its end.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return cursor.fetchone() is not None

    def test_waits_while_another_array_is_made(self) -> None:
        def another_one() -> None:
            with transaction.atomic():
                self.lock()
                locked.set()
                while not self.waiting():
                    sleep(0.01)
                sleep(0.2)  # much longer than a key is waited for

        def array() -> list[TransferResult]:
            locked.wait(60)
            return self.make()

        locked = threading.Event()
        with mock.patch.object(transfer_whole, "LOCK_WAIT_SECONDS", 60):
            _, answers = race(another_one, array)
        self.assertEqual(kinds(answers), [TransferReceipt] * 2)

    def test_does_not_wait_after_one_has_waited_in_vain(self) -> None:
        def again() -> list[Any]:
            found = []
            for seconds in (0.01, 120):  # a racer that waits for so long fails
                with mock.patch.object(transfer_whole, "LOCK_WAIT_SECONDS", seconds):
                    try:
                        found += self.make()
                    except Busy as busy:
                        found.append(busy)
            return found

        with transaction.atomic():
            self.lock()
            (answers,) = race(again)
        self.assertEqual(kinds(answers), [Busy, Busy])


@skipIf(connection.vendor == "sqlite", "SQLite locks no rows")
class OneOrderTest(CommittingTestCase):
    def test_locks_no_later_wallet_while_it_waits_for_an_earlier_one(self) -> None:
        """Earlier is the wallet with the lower id, whatever their UUIDs and roles."""
        # Their UUIDs have the opposite order, and MariaDB reads a table of a few rows by
        # its ids: otherwise the test would show nothing.
        uuids = [uuid.UUID(int=number) for number in range(50, 0, -1)]
        made = Wallet.objects.bulk_create([Wallet(uuid=one) for one in uuids])
        first, second, *_ = sorted(made, key=lambda one: one.pk)
        self.deposit(100, first)
        with ThreadPoolExecutor(1) as pool:
            for pair in ((first, second), (second, first)):
                with transaction.atomic():
                    lock_rows(Wallet.objects.filter(pk=first.pk))
                    waiting = pool.submit(self.make, asked(*pair, 1))
                    sleep(0.5)
                    self.assertFalse(waiting.done())
                    rest = Wallet.objects.filter(pk=second.pk)
                    self.assertEqual(len(lock_rows(rest, skip_locked=True)), 1)
                self.assertIsInstance(waiting.result(timeout=60), TransferReceipt)

    def make(self, request: TransferRequest) -> Any:
        try:
            return transfer_many([request])[0]
        finally:
            close_connections()


@skipIf(connection.vendor == "sqlite", "one writer at a time: nobody waits in a circle")
@slow
class RaceTest(CommittingTestCase):
    """Transfers that meet in any order, with any overlap."""

    def make(self, request: TransferRequest) -> Any:
        (answer,) = transfer_many([request])
        return answer

    def test_of_two_in_opposite_directions_makes_both(self) -> None:
        self.deposit(1000)
        self.deposit(1000, self.bob)

        def judge(_: Any, results: list[Any]) -> None:
            self.assertEqual(kinds(results), [TransferReceipt] * 4)

        rounds(
            FEW,
            lambda n: None,
            [
                lambda _: self.make(asked(self.alice, self.bob, 3)),
                lambda _: self.make(asked(self.bob, self.alice, 3)),
            ]
            * 2,
            judge,
        )
        self.assert_money(self.alice, balance=1000)

    def test_of_cycles_and_batches_makes_all(self) -> None:
        wallets = [wallet_with(1000) for _ in range(6)]
        chance = random.Random(7)

        def shuffled(_: Any) -> list[TransferRequest]:
            pairs = [chance.sample(wallets, 2) for _ in range(8)]
            return [asked(*pair, 1) for pair in pairs]

        group = TransferGroup()

        def judge(_: Any, results: list[Any]) -> None:
            for answers in results:
                self.assertIsInstance(answers, list)
                self.assertLessEqual(set(kinds(answers)), {TransferReceipt, Busy})

        rounds(
            FEW,
            lambda n: None,
            [
                lambda _: transfer_many(shuffled(None)),
                lambda _: transfer_many(shuffled(None)),
                lambda _: group.transfer(shuffled(None)),
                lambda _: [self.make(one) for one in shuffled(None)],
            ],
            judge,
        )
        total = sum(
            Wallet.objects.filter(pk__in=[w.pk for w in wallets]).values_list(
                "balance", flat=True
            )
        )
        self.assertEqual(total, 6000)

    def test_of_twenty_with_money_for_ten_makes_ten(self) -> None:
        self.deposit(10)
        results = race(
            *[partial(self.make, asked(self.alice, self.bob, 1)) for _ in range(20)]
        )
        # On a slow machine a lock times out, and the client asks again.
        late = [
            isinstance(one, DatabaseError) and is_lock_timeout(one) for one in results
        ]
        results += [self.make(asked(self.alice, self.bob, 1)) for one in late if one]
        made = [one for one in results if isinstance(one, TransferReceipt)]
        refused = [one for one in results if isinstance(one, InsufficientBalance)]
        self.assertEqual((len(made), len(refused)), (10, 10), results)
        self.assertEqual(sorted(one.balance_after for one in made), list(range(10)))
        self.assert_money(self.alice, balance=0)
        self.assert_money(self.bob, balance=10)

    def test_of_one_key_makes_one(self) -> None:
        self.deposit(100)
        request = asked(self.alice, self.bob, 7, uuid.uuid4())
        results = race(*[partial(self.make, request) for _ in range(12)])
        self.assertEqual(len({one.transfer.uuid for one in results}), 1)
        self.assertEqual(sum(not one.replayed for one in results), 1)
        self.assert_money(self.bob, balance=7)

    def test_of_a_transfer_and_a_deposit_with_one_key_makes_one_of_them(self) -> None:
        self.deposit(10_000)

        def judge(key: uuid.UUID, results: list[Any]) -> None:
            made = Transaction.objects.filter(idempotency_key=key).count()
            self.assertEqual(made, 1)
            reused = [isinstance(one, IdempotencyKeyReused) for one in results]
            self.assertEqual(sum(reused), 1, results)

        carol = WalletService.create()
        rounds(
            FEW,
            lambda n: uuid.uuid4(),
            [
                lambda key: self.make(asked(self.alice, self.bob, 1, key)),
                lambda key: deposit_many([DepositRequest(carol.uuid, 1, key)])[0],
            ],
            judge,
        )

    def test_against_a_freeze_is_made_before_it_or_refused(self) -> None:
        def judge(wallet: Wallet, results: list[Any]) -> None:
            made, _ = results
            expected = 0 if isinstance(made, TransferReceipt) else 1
            if expected:
                self.assertIsInstance(made, WalletFrozen)
            self.assert_money(wallet, balance=expected)
            self.assertIsInstance(self.make(asked(wallet, self.bob, 1)), Exception)

        rounds(
            FEW,
            lambda n: wallet_with(1),
            [
                lambda wallet: self.make(asked(wallet, self.bob, 1)),
                lambda wallet: life.freeze(
                    wallet.uuid, "out", reason="lost card", actor=OSCAR
                ),
            ],
            judge,
        )

    def test_against_a_closing_leaves_no_money_in_a_closed_wallet(self) -> None:
        self.deposit(FEW)

        def judge(wallet: Wallet, results: list[Any]) -> None:
            made, closed = results
            if isinstance(made, TransferReceipt):
                self.assertIsInstance(closed, WalletNotEmpty)
            else:
                self.assertIsInstance(made, WalletClosed)
                self.assertIsInstance(closed, Wallet)

        rounds(
            FEW,
            lambda n: wallet_with(0),
            [
                lambda wallet: self.make(asked(self.alice, wallet, 1)),
                lambda wallet: life.close(wallet.uuid, reason="moved", actor=OSCAR),
            ],
            judge,
        )

    def test_of_many_payers_of_one_wallet_makes_all(self) -> None:
        payers = [wallet_with(10) for _ in range(10)]
        results = race(
            *[partial(self.make, asked(payer, self.bob, 10)) for payer in payers]
        )
        self.assertEqual(kinds(results), [TransferReceipt] * 10)
        self.assert_money(self.bob, balance=100)

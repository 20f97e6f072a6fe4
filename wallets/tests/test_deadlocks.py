"""No mix of requests causes a deadlock: all lock keys and wallets in one order."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from unittest import mock, skipIf, skipUnless

from django.db import OperationalError, connection, transaction
from django.test import skipUnlessDBFeature

from drills.deadlocks import counted
from wallets.errors import IdempotencyKeyReused, NotCancelable
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.deposits.deposit_batch import deposit_in_steps
from wallets.services.deposits.deposit_group import DepositGroup
from wallets.services.payouts import payout
from wallets.services.requests.busy import Busy
from wallets.services.transfers.transfer import (
    TransferGroup,
    TransferRequest,
    transfer_many,
)
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.schedule import ScheduleRequest, schedule_many
from wallets.services.withdrawals.schedule_batch import Asked, schedule_in_steps
from wallets.tests import marks
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections
from wallets.tests.builders import wallet_with
from wallets.tests.races import rounds
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.database import transactions
from wallets.utils.database.transactions import lock_rows
from wallets.utils.database.untaken import _place_in_index

CALLERS = 10
ROUNDS_OF_KEYS = 60
# The kinds of requests, and how often each is made.
KINDS = {
    **{"many": 6, "group": 3, "one": 1},
    **{"withdrawal": 2, "withdrawals": 4, "together": 4, "cancel": 1, "execute": 2},
    **{"transfers": 4, "transfers of a group": 4},
}


def deadlocks() -> int:
    """Return PostgreSQL's number of deadlocks in this database; 0 on other engines."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_clear_snapshot(), deadlocks FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[1])


@skipIf(connection.vendor == "sqlite", "one writer at a time: nobody waits in a circle")
class CountedTest(CommittingTestCase):
    """What `make attack` relies on."""

    def test_is_every_deadlock(self) -> None:
        before, both = counted(), threading.Barrier(2)
        victims: list[Exception] = []

        def take(first: Wallet, second: Wallet) -> None:
            try:
                with transaction.atomic():
                    lock_rows(Wallet.objects.filter(pk=first.pk))
                    both.wait(60)
                    lock_rows(Wallet.objects.filter(pk=second.pk))
            except OperationalError as error:
                victims.append(error)
            finally:
                close_connections()

        with ThreadPoolExecutor(2) as pool:
            for pair in ((self.alice, self.bob), (self.bob, self.alice)):
                pool.submit(take, *pair)
        self.assertEqual(len(victims), 1)
        self.assertGreater(counted(), before)


@skipIf(connection.vendor == "sqlite", "one writer at a time: nobody waits in a circle")
@marks.slow
class AnyMixTest(CommittingTestCase):
    """A mix of concurrent deposits, withdrawals, transfers, cancellations and payouts…

    In each round all callers use the same new keys, each in another order. Mostly their
    wallets differ: callers that wait for a wallet would not conflict at the keys.
    """

    def setUp(self) -> None:
        super().setUp()
        self.wallets = [wallet_with(100) for _ in range(2 * CALLERS)]
        self.chance = random.Random(4)
        self.groups = [DepositGroup() for _ in range(CALLERS)]
        self.transfer_groups = [TransferGroup() for _ in range(CALLERS)]
        self.done: Counter[str] = Counter()
        self.run_again: Counter[str] = Counter()

    def test_makes_no_deadlock_and_no_error(self) -> None:
        before = deadlocks()
        judge = transactions.may_be_over_next_time

        def count(error: Exception) -> bool:
            self.run_again["deadlock" if is_deadlock(error) else "other"] += 1
            return judge(error)

        with mock.patch.object(transactions, "may_be_over_next_time", count):
            rounds(
                ROUNDS_OF_KEYS,
                self.plan,
                [partial(self.act, n) for n in range(CALLERS)],
                self.judge,
            )
        self.assertEqual(self.run_again["deadlock"], 0, self.run_again)
        self.assertEqual(deadlocks() - before, 0)
        self.assertEqual(set(self.done), set(KINDS), self.done)

    def plan(self, _: int) -> list[tuple[str, list[DepositRequest]]]:
        """Return each caller's kind of request, with some of the round's keys."""
        keys = [uuid.uuid4() for _ in range(20)]
        return [
            (self.chance.choices([*KINDS], KINDS.values())[0], self.asked(n, keys))
            for n in range(CALLERS)
        ]

    def asked(self, number: int, keys: list[uuid.UUID]) -> list[DepositRequest]:
        mine = self.wallets[2 * number : 2 * number + 2]
        if self.chance.random() < 0.2:
            mine = self.chance.sample(self.wallets, 6)
        order = self.chance.sample(keys, self.chance.randint(5, len(keys)))
        return [DepositRequest(self.chance.choice(mine).uuid, 1, key) for key in order]

    def act(self, number: int, plans: list[tuple[str, list[DepositRequest]]]) -> None:
        kind, asked = plans[number]
        with suppress(IdempotencyKeyReused):
            if kind == "many":
                deposit_many(asked)
            elif kind == "group":
                self.groups[number].deposit(asked)
            elif kind == "one":
                WalletService.deposit(asked[0].wallet_text, 1, asked[0].key)
            elif kind.startswith("transfers"):
                self.transfer(kind, number, asked)
            else:
                self.withdraw(kind, asked)
        self.done[kind] += 1

    def transfer(self, kind: str, number: int, asked: list[DepositRequest]) -> None:
        """Pay to wallets of all callers, in an order of one's own."""
        others = [wallet.uuid for wallet in self.wallets[number:] + self.wallets]
        requests = [
            TransferRequest(one.wallet_uuid, other, one.amount, one.key)
            for one, other in zip(asked, others, strict=False)
        ]
        if kind == "transfers":
            transfer_many(requests)
        else:
            self.transfer_groups[number].transfer(requests)

    def withdraw(self, kind: str, asked: list[DepositRequest]) -> None:
        when = self.after(86_400)
        requests = [
            ScheduleRequest(one.wallet_uuid, one.amount, when, one.key) for one in asked
        ]
        if kind == "withdrawals":
            schedule_many(requests)
        elif kind == "together":
            schedule_many(requests, wait=False)
        else:
            one = requests[0]
            made = WithdrawalService.schedule(one.wallet, 1, when, one.key)
            if kind == "cancel":
                with suppress(NotCancelable):  # another caller's payout was faster
                    WithdrawalService.cancel(made.pk)
            elif kind == "execute":
                self.pay_some()

    def pay_some(self) -> None:
        """Claim and pay due withdrawals of all wallets, like a drain."""
        due = Transaction.get_due_pending_withdrawals(self.after(90_000))
        for sending in payout.claim(
            due, bank=self.bank.abilities, limit=8, now=self.after(90_000)
        ).sendings:
            answer = Answer(Outcome.ACCEPTED, "paid")
            payout.record([(sending, answer)], now=self.after(90_000))

    def judge(self, _: object, results: list[object]) -> None:
        self.assertEqual([one for one in results if one is not None], [])


def is_deadlock(error: Exception) -> bool:
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or (cause and cause.args[:1])
    return code in ("40P01", (1213,))


class OneOrderTest(CommittingTestCase):
    """The one order of locks: wallets by id, then keys in the order of their index."""

    def setUp(self) -> None:
        super().setUp()
        self.keys = self.new_keys()
        self.pool = ThreadPoolExecutor(1)
        self.addCleanup(self.pool.shutdown)

    def new_keys(self) -> list[uuid.UUID]:
        place = _place_in_index(Transaction._meta.get_field("idempotency_key"))
        return sorted((uuid.uuid4() for _ in range(3)), key=place)

    def in_a_thread(self, work: Callable[[], Any]) -> Future[Any]:
        def run() -> Any:
            try:
                return work()
            finally:
                close_connections()

        return self.pool.submit(run)

    def deposits(self, wallet: Wallet, *keys: uuid.UUID) -> list[DepositRequest]:
        return [DepositRequest(wallet.uuid, 1, key) for key in keys]

    def taken(self, key: uuid.UUID) -> bool:
        """Whether another transaction uses the key. If not, Bob's deposit uses it."""
        with ThreadPoolExecutor(1) as pool:

            def take() -> Any:
                try:
                    return DepositGroup().deposit(self.deposits(self.bob, key))[0]
                finally:
                    close_connections()

            return isinstance(pool.submit(take).result(timeout=60), Busy)

    def waits(self, future: Future[Any]) -> bool:
        """Whether the work still waits after half a second."""
        time.sleep(0.5)
        return not future.done()

    @skipUnlessDBFeature("has_select_for_update_nowait")
    def test_a_waiting_deposit_has_used_no_later_key(self) -> None:
        first, second, third = self.keys
        carol = WalletService.create()
        with transaction.atomic():
            deposit_in_steps(self.deposits(carol, second))
            asked = self.deposits(self.alice, third, second, first)
            bulk = self.in_a_thread(lambda: deposit_many(asked))
            self.assertTrue(self.waits(bulk))
            self.assertFalse(self.taken(third))
            self.assertTrue(self.taken(first))
        answers = bulk.result(timeout=60)
        kinds = [isinstance(one, IdempotencyKeyReused) for one in answers]
        self.assertEqual(kinds, [True, True, False])
        self.assert_money(self.alice, balance=1)

    @skipUnlessDBFeature("has_select_for_update_nowait")
    def test_withdrawals_take_their_keys_in_the_same_order(self) -> None:
        def at_once(asked: list[Asked]) -> Any:
            return schedule_many([ScheduleRequest(*one[:4]) for one in asked])

        def in_steps(asked: list[Asked]) -> Any:
            return transactions.run_in_transaction(lambda: schedule_in_steps(asked))

        carol, when = WalletService.create(), self.after(3600)
        for work in (at_once, in_steps):
            first, second, third = self.new_keys()
            asked = [
                Asked(self.alice.uuid, 1, when, key, may_be_recorded=True)
                for key in (third, second, first)
            ]
            with transaction.atomic():
                deposit_in_steps(self.deposits(carol, second))
                withdrawals = self.in_a_thread(partial(work, asked))
                self.assertTrue(self.waits(withdrawals))
                self.assertFalse(self.taken(third))
                self.assertTrue(self.taken(first))
            answers = withdrawals.result(timeout=60)
            kinds = [isinstance(one, IdempotencyKeyReused) for one in answers]
            self.assertEqual(kinds, [True, True, False])

    @skipUnlessDBFeature("has_select_for_update_nowait")
    def test_a_used_key_rolls_nothing_back(self) -> None:
        """The transaction does not run again after it has waited for the key."""
        with mock.patch.object(transactions, "may_be_over_next_time") as run_again:
            with transaction.atomic():
                deposit_in_steps(self.deposits(self.bob, self.keys[1]))
                asked = self.deposits(self.alice, *self.keys)
                steps = self.in_a_thread(
                    lambda: transactions.run_in_transaction(
                        lambda: deposit_in_steps(asked)
                    )
                )
                self.assertTrue(self.waits(steps))
            answers = steps.result(timeout=60)
        run_again.assert_not_called()
        kinds = [isinstance(one, IdempotencyKeyReused) for one in answers]
        self.assertEqual(kinds, [False, True, False])
        self.assert_money(self.alice, balance=2)

    @skipUnless(connection.vendor == "mysql", "a new row locks no wallet")
    def test_a_withdrawal_takes_its_wallet_first(self) -> None:
        with transaction.atomic():
            lock_rows(Wallet.objects.filter(pk=self.alice.pk))
            withdrawal = self.in_a_thread(
                lambda: WithdrawalService.schedule(
                    self.alice.uuid, 1, self.after(3600), self.keys[0]
                )
            )
            self.assertTrue(self.waits(withdrawal))
            self.assertFalse(self.taken(self.keys[0]))
        self.assertIsInstance(withdrawal.exception(timeout=60), IdempotencyKeyReused)


class PlaceInIndexTest(WalletTestCase):
    def test_is_the_engines_own(self) -> None:
        chance = random.Random(7)
        some = [f"{chance.getrandbits(128):032x}" for _ in range(240)]
        # Versions 1 to 8: MariaDB stores some of them with the last part first.
        keys = [
            uuid.UUID(f"{text[:12]}{number % 8 + 1}{text[13:16]}a{text[17:]}")
            for number, text in enumerate(some)
        ]
        deposit_many(self.deposits(keys))
        rows = Transaction.objects.order_by("idempotency_key")
        place = _place_in_index(Transaction._meta.get_field("idempotency_key"))
        self.assertEqual(
            list(rows.values_list("idempotency_key", flat=True)),
            sorted(keys, key=place),
        )

    def deposits(self, keys: list[uuid.UUID]) -> list[DepositRequest]:
        return [DepositRequest(self.alice.uuid, 1, key) for key in keys]

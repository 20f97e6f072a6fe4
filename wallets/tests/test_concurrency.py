"""Races on real connections: the ledger is right, whoever is first.

Every test starts its callers at a barrier. WALLET_RACE_ROUNDS sets the number of races
(100 by default).
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock, skipIf

from django.db import connection
from django.test import override_settings

from wallets.errors import NotCancelable
from wallets.models.base import MAX_MONEY
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.ledger import ledger_postgresql, postings
from wallets.services.ledger.postings import Posting
from wallets.services.operations import review
from wallets.services.payouts import payout, resolver, sweeps
from wallets.services.payouts.claiming import find_due
from wallets.services.payouts.drain import Drain
from wallets.services.requests import idempotency
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tasks import process_pending_withdrawals
from wallets.tests import builders, marks
from wallets.tests.base import OSCAR, CommittingTestCase
from wallets.tests.fakes import BARE, LOOKS_UP_ONLY, Does
from wallets.tests.races import FEW, PATIENCE, ROUNDS, race, rounds
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.database.transactions import run_in_transaction

SQLITE = connection.vendor == "sqlite"
ONE_WRITER = "SQLite has one writer at a time, so nobody waits in a circle"


@marks.slow
class FiftyDebitsTest(CommittingTestCase):
    def test_with_money_for_ten_pay_ten(self):
        self.deposit(1000)
        rows = [self.due_withdrawal(100) for _ in range(50)]

        def execute(some: list[Transaction]) -> list[str]:
            return [
                WithdrawalService.execute(row.pk, bank=self.bank, now=self.now).status
                for row in some
            ]

        # Twenty-five callers with two withdrawals each: a shared server may not have
        # fifty free connections.
        results = race(*(partial(execute, rows[n : n + 2]) for n in range(0, 50, 2)))
        statuses = Counter(status for result in results for status in result)
        self.assertEqual(statuses, {"COMPLETED": 10, "FAILED": 40})
        codes = Counter(
            Transaction.objects.filter(status="FAILED").values_list(
                "failure_code", "final"
            )
        )
        self.assertEqual(codes, {("insufficient_balance", True): 40})
        self.assertEqual(len(self.bank.paid), 10)
        self.assert_money(self.alice, balance=0)


@marks.slow
class SameKeyTest(CommittingTestCase):
    CLIENTS = 20

    def assert_one(self, results: list[Any]) -> Transaction:
        made = {result.transaction.pk for result in results}
        self.assertEqual(len(made), 1, results)
        self.assertEqual(
            Counter(result.replayed for result in results),
            {False: 1, True: self.CLIENTS - 1},
        )
        return Transaction.objects.get(pk=made.pop())

    def test_from_twenty_clients_makes_one_deposit(self):
        key = uuid.uuid4()
        deposit = partial(builders.deposit_receipt, self.alice.uuid, 7, key)
        results = race(*[deposit] * self.CLIENTS)
        self.assert_one(results)
        self.assertEqual({result.balance_after for result in results}, {7})
        self.assert_money(self.alice, balance=7)

    def test_from_twenty_clients_makes_one_withdrawal(self):
        key, when = uuid.uuid4(), self.after(3600)
        schedule = partial(builders.schedule_receipt, self.alice.uuid, 7, when, key)
        made = self.assert_one(race(*[schedule] * self.CLIENTS))
        self.assertEqual(made.transitions.count(), 1)

    def test_for_two_wallets_is_used_by_one_and_refused_to_the_other(self):
        key = uuid.uuid4()
        results = race(
            *(
                partial(WalletService.deposit, wallet.uuid, 7, key)
                for wallet in (self.alice, self.bob)
            )
        )
        kinds = sorted(type(result).__name__ for result in results)
        self.assertEqual(kinds, ["IdempotencyKeyReused", "Transaction"])
        self.assertEqual(Transaction.objects.count(), 1)

    @skipIf(SQLITE, "the second transaction cannot begin while the first is open")
    def test_is_a_replay_also_when_the_first_took_the_last_room(self):
        """The second reads "no such key", waits for the lock, and finds a full wallet."""
        self.deposit(MAX_MONEY - 7)
        key = uuid.uuid4()
        # On PostgreSQL one statement locks and writes.
        module, name = postings, "lock_wallets_by_uuid"
        if connection.vendor == "postgresql":
            module, name = ledger_postgresql, "deposit"
        begin = getattr(module, name)
        between = threading.Event()

        def begin_after_the_other(*args, **options):
            if not between.is_set():
                between.set()
                race(partial(deposit_many, [DepositRequest(self.alice.uuid, 7, key)]))
            return begin(*args, **options)

        with mock.patch.object(module, name, begin_after_the_other):
            again = builders.deposit_receipt(self.alice.uuid, 7, key)
        self.assertTrue(again.replayed)
        self.assert_money(self.alice, balance=MAX_MONEY)


@marks.slow
class OneWalletTest(CommittingTestCase):
    def test_takes_deposits_and_executions_at_once(self):
        self.deposit(100)
        deposits = 0

        def prepare(number: int) -> Transaction:
            return self.due_withdrawal(10)

        def deposit(_: Transaction) -> Transaction:
            return WalletService.deposit(self.alice.uuid, 10)

        def execute(withdrawal: Transaction) -> Transaction:
            return WithdrawalService.execute(
                withdrawal.pk, bank=self.bank, now=self.now
            )

        def judge(withdrawal: Transaction, results: list[Transaction]) -> None:
            nonlocal deposits
            deposits += 2
            self.assertEqual([result.status for result in results], ["COMPLETED"] * 3)

        rounds(FEW, prepare, [deposit, deposit, execute], judge)
        self.assert_money(self.alice, balance=100 + 10 * deposits - 10 * FEW)

    def test_gives_each_deposit_its_own_place_in_the_statement(self):
        deposit = partial(builders.deposit_receipt, self.alice.uuid, 1)
        results = race(*[deposit] * 20)
        self.assertEqual(
            sorted(result.balance_after for result in results), list(range(1, 21))
        )


@marks.slow
class CancelAgainstClaimTest(CommittingTestCase):
    """A race between the cancellation and the claim of the first attempt."""

    # The number of movements of earlier attempts.
    moved_before = 0
    due_after = 0

    def withdrawal(self) -> Transaction:
        return self.due_withdrawal(1)

    def test_has_one_winner_and_leaves_no_hold_behind(self):
        self.deposit(ROUNDS)
        wins: Counter[str] = Counter()

        def judge(withdrawal: Transaction, results: list[object]) -> None:
            self.judge(withdrawal, *results)
            wins[withdrawal.status] += 1

        rounds(ROUNDS, *self.prepared(), judge)
        self.assertEqual(set(wins), {"CANCELLED", "COMPLETED"}, wins)
        self.assertEqual(len(self.bank.paid), wins["COMPLETED"])
        self.assert_money(self.alice, balance=ROUNDS - wins["COMPLETED"])

    def prepared(self) -> tuple[Callable[..., Any], list[Callable[..., Any]]]:
        """Return what prepares a round, and the runners."""
        done = {"cancel": threading.Event(), "execute": threading.Event()}
        # Sometimes one caller waits for the other, so that each of them wins.
        held_back = ""

        def prepare(number: int) -> Transaction:
            nonlocal held_back
            for event in done.values():
                event.clear()
            held_back = {0: "cancel", 1: "execute"}.get(number % 20, "")
            return self.withdrawal()

        def run(name: str, other: str, act: Callable[[int], Transaction], row):
            if held_back == name:
                done[other].wait(20)
            try:
                return act(row.pk)
            finally:
                done[name].set()

        def execute(pk: int) -> Transaction:
            moment = self.after(self.due_after)
            return WithdrawalService.execute(pk, bank=self.bank, now=moment)

        return prepare, [
            partial(run, "cancel", "execute", WithdrawalService.cancel),
            partial(run, "execute", "cancel", execute),
        ]

    def judge(self, withdrawal: Transaction, cancelled: Any, executed: Any) -> None:
        withdrawal.refresh_from_db()
        moved = withdrawal.movements.count() - self.moved_before
        if withdrawal.status == "CANCELLED":
            self.assertIsInstance(executed, Transaction.DoesNotExist)
            self.assertEqual((cancelled.status, moved), ("CANCELLED", 0))
        else:
            self.assertIsInstance(cancelled, NotCancelable)
            self.assertEqual((executed.status, moved), ("COMPLETED", 2))


@marks.slow
class CancelAgainstRetryTest(CancelAgainstClaimTest):
    """The same race with the claim of a retry, after a refused first attempt."""

    moved_before = 2
    due_after = 3600

    def withdrawal(self) -> Transaction:
        withdrawal = self.due_withdrawal(1)
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        return withdrawal


@marks.slow
class OneWithdrawalTest(CommittingTestCase):
    def test_is_executed_by_one_of_many(self):
        self.deposit(FEW)

        def execute(withdrawal: Transaction) -> Transaction:
            return WithdrawalService.execute(
                withdrawal.pk, bank=self.bank, now=self.now
            )

        def judge(withdrawal: Transaction, results: list[object]) -> None:
            kinds = Counter(type(result).__name__ for result in results)
            self.assertEqual(kinds, {"Transaction": 1, "DoesNotExist": 4}, results)

        rounds(FEW, lambda _: self.due_withdrawal(1), [execute] * 5, judge)
        self.assertEqual(len(self.bank.paid), FEW)

    def test_is_concluded_by_its_sender_or_the_resolver(self):
        self.bank._abilities = LOOKS_UP_ONLY
        self.deposit(FEW)

        def prepare(_: int) -> payout.Sending:
            rows = Transaction.objects.filter(pk=self.due_withdrawal(1).pk)
            (sending,) = payout.claim(
                rows, bank=self.bank.abilities, limit=1, now=self.now
            ).sendings
            self.bank.pay(sending.payment)
            return sending

        def record(sending: payout.Sending) -> None:
            payout.record([(sending, Answer(Outcome.ACCEPTED, "paid"))], now=self.now)

        def resolve(_: payout.Sending) -> int:
            return resolver.resolve_due(bank=self.bank, limit=9, now=self.after(60))

        def judge(sending: payout.Sending, results: list[object]) -> None:
            self.assertEqual([r for r in results if isinstance(r, Exception)], [])
            withdrawal = Transaction.objects.get(pk=sending.attempt.transaction_id)
            self.assertEqual(withdrawal.status, "COMPLETED")
            self.assertEqual(withdrawal.alarms.count(), 0)

        rounds(FEW, prepare, [record, resolve, resolve], judge)
        self.assert_money(self.alice, balance=0)

    def test_is_resolved_by_one_of_two_operators(self):
        self.bank._abilities = BARE
        self.deposit(FEW)

        def prepare(_: int) -> Transaction:
            withdrawal = self.due_withdrawal(1)
            self.bank.script.append(Does.LOSE)
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
            resolver.resolve_due(bank=self.bank, limit=9, now=self.after(60))
            return withdrawal

        def say(paid: bool, withdrawal: Transaction) -> Transaction:
            return review.resolve(
                withdrawal.pk, paid=paid, evidence="seen", actor=OSCAR
            )

        def judge(withdrawal: Transaction, results: list[object]) -> None:
            kinds = Counter(type(result).__name__ for result in results)
            self.assertEqual(kinds, {"Transaction": 1, "IllegalTransition": 1}, results)

        rounds(FEW, prepare, [partial(say, True), partial(say, False)], judge)


@marks.slow
class TwoDrainsTest(CommittingTestCase):
    """Two workers, ten ticks, doubled messages: each withdrawal is paid once."""

    COUNT = 200

    @override_settings(WITHDRAWAL_BATCH_SIZE=16)
    def test_pay_two_hundred_once_each(self):
        wallets = [builders.wallet_with(self.COUNT) for _ in range(5)]
        rows = [self.due_withdrawal(1, wallets[n % 5]) for n in range(self.COUNT)]

        def drain() -> int:
            return Drain(find_due, bank=self.bank, seconds=PATIENCE).run()

        def tick() -> list[dict[str, int]]:
            return [process_pending_withdrawals() for _ in range(10)]

        def messages() -> list[str | None]:
            some = [row.pk for row in rows[::10]] * 2
            return [sweeps.execute_single(pk, bank=self.bank) for pk in some]

        results = race(drain, drain, tick, messages)
        self.assertEqual([r for r in results if isinstance(r, Exception)], [])
        references = self.bank.paid_references()
        self.assertEqual(len(references), self.COUNT)
        self.assertEqual(len(set(references)), self.COUNT)
        self.assertEqual(
            Transaction.objects.filter(
                transaction_type="WITHDRAWAL", status="COMPLETED"
            ).count(),
            self.COUNT,
        )
        for dispatched in results[2]:
            self.assertLessEqual(set(dispatched), {"dispatched"})


@skipIf(SQLITE, ONE_WRITER)
class DeadlockTest(CommittingTestCase):
    """Two transactions that lock two wallets in opposite orders, on purpose."""

    def deposits_into(self, wallets: list[Wallet], barrier: threading.Barrier) -> None:
        first_run = True

        def work() -> None:
            nonlocal first_run
            for number, wallet in enumerate(wallets):
                if number == 1 and first_run:
                    first_run = False
                    barrier.wait(20)  # each has locked one wallet
                locked = postings.lock_wallets([wallet.pk])
                deposit = Transaction.objects.create(
                    wallet=wallet,
                    transaction_type="DEPOSIT",
                    amount=5,
                    status="COMPLETED",
                    executed_at=self.now,
                )
                postings.post(
                    [Posting(Movement.Kind.DEPOSIT, deposit)], locked, now=self.now
                )

        run_in_transaction(work)

    def test_is_run_again_whole(self):
        """The rolled-back transaction's first deposit is neither lost nor doubled.

        On MariaDB a deadlock rolls the whole transaction back. Code that went on after
        it would commit the second half alone.
        """
        for _ in range(5):
            barrier = threading.Barrier(2)
            results = race(
                partial(self.deposits_into, [self.alice, self.bob], barrier),
                partial(self.deposits_into, [self.bob, self.alice], barrier),
            )
            self.assertEqual(results, [None, None])
        self.assert_money(self.alice, balance=50)
        self.assert_money(self.bob, balance=50)
        self.assertEqual(Transaction.objects.count(), 20)


@marks.slow
class AllCallersTest(CommittingTestCase):
    """All kinds of callers on two wallets: no error, no hang, a right ledger."""

    def resolve(self, at: float) -> None:
        resolver.resolve_due(
            bank=self.bank,
            limit=50,
            now=self.after(at),
            elapsed=self.began + at,
        )

    def test_end_without_an_error_and_with_a_right_ledger(self):
        self.began = clock.elapsed()
        self.deposit(10_000)
        self.deposit(10_000, self.bob)
        self.bank._abilities = LOOKS_UP_ONLY
        does = [Does.PAY, Does.REFUSE, Does.PAY_SILENTLY, Does.LOSE, Does.UNREACHABLE]
        self.bank.script.extend(does * 10)
        rows = [
            self.due_withdrawal(10, wallet)
            for _ in range(20)
            for wallet in (self.alice, self.bob)
        ]

        def deposit(wallet: Wallet) -> None:
            for _ in range(20):
                WalletService.deposit(wallet.uuid, 3)

        def schedule() -> None:
            for number in range(20):
                wallet = (self.alice, self.bob)[number % 2]
                WithdrawalService.schedule(wallet.uuid, 3, self.after(9999))

        def cancel() -> None:
            for row in rows[::4]:
                try:
                    WithdrawalService.cancel(row.pk)
                except NotCancelable:
                    continue

        def resolve() -> None:
            for at in range(60, 600, 60):
                self.resolve(at)

        results = race(
            partial(deposit, self.alice),
            partial(deposit, self.bob),
            schedule,
            cancel,
            lambda: Drain(find_due, bank=self.bank, seconds=5).run(),
            lambda: Drain(find_due, bank=self.bank, seconds=5).run(),
            resolve,
        )
        self.assertEqual([r for r in results if isinstance(r, Exception)], [])
        for at in range(600, 1500, 100):
            self.resolve(at)
        self.assert_each_was_paid_once()

    def assert_each_was_paid_once(self) -> None:
        paid = {payment.reference for payment in self.bank.paid}
        self.assertEqual(len(paid), len(self.bank.paid))
        completed = Transaction.objects.filter(
            transaction_type="WITHDRAWAL", status="COMPLETED"
        )
        self.assertEqual(completed.count(), len(paid))


class ReplayWhileMovingTest(CommittingTestCase):
    def test_gives_the_first_answer_whatever_happens_in_the_wallet(self):
        key = uuid.uuid4()
        WalletService.deposit(self.alice.uuid, 5, key)

        def replay() -> set[int]:
            return {
                builders.deposit_receipt(self.alice.uuid, 5, key).balance_after
                for _ in range(10)
            }

        def deposit() -> None:
            for _ in range(10):
                WalletService.deposit(self.alice.uuid, 1)

        results = race(replay, deposit, replay, deposit)
        self.assertEqual(results[0] | results[2], {5})
        self.assertIn(key, idempotency.find_made([key], tenant=""))

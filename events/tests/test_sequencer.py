"""The sequencer on a real database: late commits, rivals, crashes, lost progress."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import skipIf

from django.db import DatabaseError, connection, transaction

from events.errors import UnknownRow
from events.models.event import Event, Source
from events.models.progress import Cursor, Gap
from events.services import feed, sequencer, verify
from events.tests.world import broken_rules
from wallets.models.ledger import Movement
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.corrections.correction import correct
from wallets.services.operations.payment_return import record_return
from wallets.services.operations.record import record_paid
from wallets.services.reads import actors
from wallets.services.transfers.transfer import transfer
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import (
    OSCAR,
    CommittingTestCase,
    WalletTestCase,
    close_connections,
)
from wallets.tests.builders import deposit, due_withdrawal
from wallets.tests.fakes import Does
from wallets.tests.races import race
from wallets.tests.raw import insert, update

PATIENCE = 60


def types() -> list[str]:
    return [record.type for record in feed.read(0, 1000)]


class SequencerTest(WalletTestCase):
    """The events of a withdrawal's life, by the services."""

    def tearDown(self) -> None:
        self.assertEqual(broken_rules(), [])
        self.assertEqual(list(verify.verify()), [])
        super().tearDown()

    def assert_events(self, *expected: str) -> None:
        """Compare the events after the creation of Alice's and Bob's wallets."""
        sequencer.catch_up()
        self.assertEqual(types()[2:], list(expected))

    def test_gives_a_place_to_each_wallet(self) -> None:
        sequencer.catch_up()
        self.assertEqual(types(), ["wallet.created"] * 2)

    def test_gives_places_to_a_payment(self) -> None:
        self.deposit(100)
        sequencer.catch_up()
        withdrawal = self.due_withdrawal(40)
        sequencer.catch_up()
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        self.assert_events(
            *("deposit.completed", "withdrawal.scheduled"),
            *("withdrawal.processing", "withdrawal.completed"),
        )

    def test_tells_a_failed_attempt_from_a_failed_withdrawal(self) -> None:
        self.refused_withdrawal(40, at=self.now)
        sequencer.catch_up()
        poor = self.due_withdrawal(10_000)
        sequencer.catch_up()
        WithdrawalService.execute(poor.pk, bank=self.bank, now=self.now)
        sequencer.catch_up()
        codes = {
            one.type: one.data["failure_code"]
            for one in feed.read(0, 99)
            if "failed" in one.type
        }
        self.assertEqual(
            codes,
            {
                "withdrawal.attempt_failed": "rejected_by_bank",
                "withdrawal.failed": "insufficient_balance",
            },
        )

    def test_gives_places_to_what_operators_and_clients_do(self) -> None:
        failed = self.refused_withdrawal(40, at=self.now)
        WithdrawalService.retry_now(failed.pk, actor="operator oscar")
        WithdrawalService.cancel(failed.pk)
        # The withdrawal was scheduled at the beginning of the test.
        self.assert_events(
            *("withdrawal.scheduled", "deposit.completed", "withdrawal.processing"),
            *("withdrawal.attempt_failed", "withdrawal.retry_requested"),
            "withdrawal.cancelled",
        )
        actors = {one.type: one.data.get("actor") for one in feed.read(0, 99)}
        self.assertEqual(actors["withdrawal.retry_requested"], "operator oscar")
        self.assertEqual(actors["withdrawal.processing"], "worker")

    def test_names_the_actors_that_the_statement_names(self) -> None:
        self.deposit(100)
        failed = self.refused_withdrawal(40, at=self.now)
        WithdrawalService.retry_now(failed.pk, actor=OSCAR)
        WithdrawalService.execute(failed.pk, bank=self.bank)
        recorded = self.due_withdrawal(30)
        record_paid(recorded.pk, evidence="statement 4", actor=OSCAR)
        correct(self.deposit(50).pk, 20, reason="a mistake", actor=OSCAR)
        sequencer.catch_up()
        rows = Movement.objects.filter(wallet=self.alice).select_related("transaction")
        made = {row.sequence: row.actor for row in actors.of_movements(rows)}
        told = [one.data for one in feed.read(0, 99) if one.data.get("sequence")]
        self.assertEqual(len(told), len(made) - 1)  # a recorded hold has no event
        for one in told:
            self.assertEqual(one["actor"], made[one["sequence"]], one)
        self.assertEqual({OSCAR, "worker", "client"}, set(made.values()))

    def test_says_that_an_outcome_is_unknown(self) -> None:
        self.deposit(100)
        withdrawal = self.due_withdrawal(40)
        self.bank.script.append(Does.PAY_SILENTLY)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        sequencer.catch_up()
        last = feed.read(0, 99)[-1]
        self.assertEqual(last.type, "withdrawal.unknown")
        self.assertEqual(last.data["status"], "PROCESSING")

    def test_gives_a_place_to_each_half_of_a_transfer(self) -> None:
        """Each wallet has the transfer at its place in its own statement."""
        self.deposit(100)
        sequencer.catch_up()
        moved = transfer(self.alice.uuid, self.bob.uuid, 40)
        self.assert_events(
            "deposit.completed", "transfer.completed", "transfer.received"
        )
        sent, received = feed.read(0, 99)[-2:]
        ends = {"from": str(self.alice.uuid), "to": str(self.bob.uuid)}
        for one in (sent, received):
            self.assertEqual(one.data["transfer"], str(moved.uuid))
            self.assertEqual({name: one.data[name] for name in ends}, ends)
        self.assertEqual(
            (sent.wallet, received.wallet), (self.alice.uuid, self.bob.uuid)
        )
        balances = sent.data["balance_after"], received.data["balance_after"]
        self.assertEqual(balances, (60, 40))
        self.assertEqual(sent.data["idempotency_key"], received.data["idempotency_key"])

    def test_gives_a_place_to_each_correction(self) -> None:
        typed = self.deposit(1000)
        correct(typed.pk, 900, reason="one nought too many", actor="operator oscar")
        moved = transfer(self.alice.uuid, self.bob.uuid, 40)
        correct(moved.credit_id, 40, reason="wrong wallet", actor="operator oscar")
        sequencer.catch_up()
        posted = [one for one in feed.read(0, 99) if one.type == "correction.posted"]
        found = [
            (one.wallet, one.data["corrects"], one.data["reason"]) for one in posted
        ]
        self.assertCountEqual(
            found,
            [
                (self.alice.uuid, typed.pk, "one nought too many"),
                (self.alice.uuid, moved.debit_id, "wrong wallet"),
                (self.bob.uuid, moved.credit_id, "wrong wallet"),
            ],
        )

    def test_gives_a_place_to_a_payment_that_came_back(self) -> None:
        """It is an event of the withdrawal, at its place in the wallet's statement."""
        self.deposit(100)
        paid = self.due_withdrawal(40)
        WithdrawalService.execute(paid.pk, bank=self.bank, now=self.now)
        told = {"return_reference": "RET 1", "reason": "closed", "actor": OSCAR}
        done = record_return(paid.pk, 35, **told)
        sequencer.catch_up()
        completed, back = feed.read(0, 99)[-2:]
        self.assertEqual(
            (completed.type, back.type), ("withdrawal.completed", "withdrawal.returned")
        )
        for name in ("transaction", "idempotency_key"):
            self.assertEqual(back.data[name], completed.data[name])
        self.assertEqual(
            {
                name: back.data[name]
                for name in back.data.keys() - completed.data.keys()
            },
            {"credit": done.credit_id, "return_reference": "RET 1", "reason": "closed"},
        )
        self.assertEqual((back.data["amount"], back.data["actor"]), (35, OSCAR))
        self.assertEqual((back.data["sequence"], back.data["balance_after"]), (4, 95))

    def test_gives_places_to_the_changes_of_a_wallet(self) -> None:
        wallet = WalletService.create(reference="first", metadata={"a": "b"})
        by = {"reason": "why", "actor": "operator oscar"}
        WalletService.change(wallet.uuid, {"reference": "second"})
        WalletService.change(wallet.uuid, {"reference": "third", "metadata": None})
        life.freeze(wallet.uuid, "both", **by)
        life.unfreeze(wallet.uuid, "both", **by)
        life.close(wallet.uuid, **by)
        sequencer.catch_up()
        events = feed.read(0, 99, wallet=wallet.uuid)
        names = ["created", "changed", "changed", "frozen", "unfrozen", "closed"]
        self.assertEqual([one.type for one in events], [f"wallet.{n}" for n in names])
        created = events[0].data
        self.assertEqual(
            (created["reference"], created["metadata"], created["balance"]),
            ("first", {"a": "b"}, 0),
        )
        self.assertEqual(events[1].data["before"], {"reference": "first"})
        self.assertEqual(events[3].data["after"], {"state": "frozen"})
        self.assertEqual([one.data["change"] for one in events[1:]], [1, 2, 3, 4, 5])

    def test_keeps_the_changes_of_a_wallet_in_order_in_a_backlog(self) -> None:
        """Also if a later change is found first: the earlier one was in a gap."""
        wallet = WalletService.create()
        rows = [
            WalletChange(
                id=pk,
                wallet=wallet,
                sequence=number,
                event="changed",
                before="{}",
                after="{}",
                actor="test",
                created_at=self.now - timedelta(seconds=number),
            )
            for number, pk in enumerate((90, 70, 80), start=1)
        ]
        Wallet.objects.filter(pk=wallet.pk).update(change_count=3)
        WalletChange.objects.bulk_create(rows)
        sequencer.catch_up(limit=1)
        events = feed.read(0, 99, wallet=wallet.uuid)
        found = [one.data.get("change") for one in events]
        self.assertEqual(found, [None, 1, 2, 3])

    def test_does_nothing_when_there_is_nothing(self) -> None:
        sequencer.catch_up()
        self.assertFalse(sequencer.finds_work())
        self.assertEqual(sequencer.run_pass(), (0, False))

    def test_finds_everything_again_when_its_progress_is_lost(self) -> None:
        self.deposit(100)
        sequencer.catch_up()
        Cursor.objects.all().delete()
        Gap.objects.all().delete()
        self.deposit(5)
        self.assertEqual(sequencer.catch_up(limit=1), 1)

    def test_keeps_each_pass_of_a_backlog_small(self) -> None:
        """A change does not bring the whole statement of its wallet with it."""
        for _ in range(40):
            self.deposit(1)
        withdrawal = self.due_withdrawal(40)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        more, largest = True, 0
        while more:
            events, more = sequencer.run_pass(limit=5)
            largest = max(largest, events)
        self.assertLessEqual(largest, 15)

    def test_works_off_a_backlog_in_small_passes_in_order(self) -> None:
        for amount in range(1, 6):
            self.deposit(amount)
            self.refused_withdrawal(amount, at=self.now)
        sequencer.catch_up(limit=2)


class UnknownRowTest(WalletTestCase):
    """A row of a later release."""

    def setUp(self) -> None:
        super().setUp()
        withdrawal = self.due_withdrawal(40)
        sequencer.catch_up()
        self.row = {
            "transaction": withdrawal.pk,
            "sequence": 1,
            "event": "teleport",
            "from_state": "pending",
            "to_state": "pending",
            "actor": "later release",
            "evidence": "",
            "created_at": self.now,
        }

    def test_stops_the_sequencer_of_this_release(self) -> None:
        pk = insert(Transition, self.row)
        update(Transaction, self.row["transaction"], {"version": 1})
        self.deposit(1)
        before = feed.last_position()
        for work in (sequencer.run_pass, sequencer.finds_work, sequencer.catch_up):
            with self.assertRaisesMessage(
                UnknownRow, f"wallets_transition has a row {pk}"
            ):
                work()
        self.assertEqual(feed.last_position(), before)


class CrashTest(CommittingTestCase):
    """A pass that ends between any two of its statements has done nothing."""

    def test_between_any_two_statements_leaves_nothing_half_done(self) -> None:
        self.deposit(100)
        sequencer.catch_up()
        number = 0
        while True:
            number += 1
            self.deposit(1)
            self.due_withdrawal(1)
            # A gap, too: the id of a row that was rolled back.
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                self._roll_back_a_row()
            WalletService.create()
            before = self.written()
            if self.passes_with_failure_at(number):
                break
            self.assertEqual(self.written(), before)
        self.assertGreater(number, 5)
        sequencer.catch_up()
        self.assertEqual(broken_rules(), [])

    def _roll_back_a_row(self) -> None:
        owner = Transaction.objects.filter(transaction_type="DEPOSIT").last()
        insert(Transition, UnscheduledRow.columns(owner.pk, self.now))
        raise ZeroDivisionError

    def written(self) -> list[Any]:
        return [list(model.objects.values_list()) for model in (Event, Cursor, Gap)]

    def passes_with_failure_at(self, number: int) -> bool:
        """Run a pass that fails at this statement; return whether it had fewer."""
        count = 0

        def execute(run: Callable[..., Any], *args: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                raise RuntimeError("crash")
            return run(*args)

        with connection.execute_wrapper(execute):
            try:
                sequencer.run_pass()
            except RuntimeError:
                return False
        return True


class UnscheduledRow:
    @staticmethod
    def columns(owner: int, now: Any) -> dict[str, Any]:
        return {
            "transaction": owner,
            "sequence": 77,
            "event": "cancel",
            "from_state": "pending",
            "to_state": "cancelled",
            "actor": "nobody",
            "evidence": "",
            "created_at": now,
        }


@skipIf(connection.vendor == "sqlite", "has one writer: no row is committed late")
class LateCommitTest(CommittingTestCase):
    """A transaction that holds a lower id is committed after a higher one."""

    def setUp(self) -> None:
        super().setUp()
        # The first ids of this database are a gap: earlier tests have used them.
        self.everything_of_alice()
        sequencer.catch_up()
        self.usual = self.gaps()

    def gaps(self) -> list[tuple[int, str]]:
        rows = Gap.objects.order_by("source", "first")
        return list(rows.values_list("source", "missing"))

    def new_gaps(self) -> list[int]:
        """Return the sources of the gaps that there were not at the beginning."""
        return [
            source for source, ids in self.gaps() if (source, ids) not in self.usual
        ]

    def tearDown(self) -> None:
        self.assertEqual(broken_rules(), [])
        super().tearDown()

    @contextmanager
    def held_open(
        self, work: Callable[[], Any], *, commit: bool = True
    ) -> Iterator[Any]:
        """Run `work` in another transaction, which ends when the block has ended."""
        written, may_end = threading.Event(), threading.Event()
        failures: list[Exception] = []

        def run() -> None:
            try:
                with transaction.atomic():
                    work()
                    written.set()
                    may_end.wait(PATIENCE)
                    transaction.set_rollback(not commit)
            except Exception as error:  # noqa: BLE001 (shown by the test)
                failures.append(error)
            finally:
                written.set()
                close_connections()

        thread = threading.Thread(target=run)
        thread.start()
        self.assertTrue(written.wait(PATIENCE))
        try:
            yield
        finally:
            may_end.set()
            thread.join(PATIENCE)
        self.assertEqual(failures, [])

    def bobs_deposit(self) -> None:
        """Write a deposit of Bob by SQL: the services would commit it."""
        owner = insert(
            Transaction,
            {
                **{"wallet": self.bob.pk, "amount": 5, "transaction_type": "DEPOSIT"},
                **{"status": "COMPLETED", "idempotency_key": uuid.uuid4()},
                **{"executed_at": self.now, "created_at": self.now},
                **{"updated_at": self.now, "retry_count": 0, "final": False},
                **{"needs_review": False, "failure_code": "", "version": 0},
                "third_party_response": "",
            },
        )
        insert(
            Movement,
            {
                **{"wallet": self.bob.pk, "transaction": owner, "attempt_number": 0},
                **{"kind": "deposit", "leg": "open", "from_account": "outside"},
                **{"to_account": "wallet", "amount": 5, "sequence": 1},
                **{"balance_after": 5, "created_at": self.now},
            },
        )
        Wallet.objects.filter(pk=self.bob.pk).update(
            balance=5, movement_count=1, updated_at=self.now
        )

    def bobs_schedule(self) -> None:
        owner = insert(
            Transaction,
            {
                **{
                    "wallet": self.bob.pk,
                    "amount": 5,
                    "transaction_type": "WITHDRAWAL",
                },
                **{"status": "PENDING", "idempotency_key": uuid.uuid4()},
                **{"scheduled_for": self.after(999), "created_at": self.now},
                **{"updated_at": self.now, "retry_count": 0, "final": False},
                **{"needs_review": False, "failure_code": "", "version": 0},
                "third_party_response": "",
            },
        )
        first = {**UnscheduledRow.columns(owner, self.now), "sequence": 0}
        insert(
            Transition,
            first | {"event": "schedule", "from_state": "", "to_state": "pending"},
        )

    def a_wallet(self) -> None:
        zero = {"balance": 0, "held": 0, "movement_count": 0}
        times = {"created_at": self.now, "updated_at": self.now}
        insert(Wallet, {"uuid": uuid.uuid4(), **zero, **times})

    def bobs_freeze(self) -> None:
        """Write a change of Bob's wallet by SQL."""
        insert(
            WalletChange,
            {
                **{"wallet": self.bob.pk, "sequence": 1, "event": "frozen"},
                **{"before": "{}", "after": "{}", "actor": "oscar", "reason": "x"},
                "created_at": self.now,
            },
        )
        Wallet.objects.filter(pk=self.bob.pk).update(change_count=1)

    def everything_of_alice(self) -> None:
        """Commit a higher id in every source."""
        life.freeze(self.alice.uuid, "both", actor="oscar", reason="x")
        life.unfreeze(self.alice.uuid, "both", actor="oscar", reason="x")
        WalletService.create()
        deposit(self.alice, 100)
        due_withdrawal(self.alice, 1, due=self.now)

    def test_is_found_when_it_comes(self) -> None:
        for work, source, kind in (
            (self.bobs_deposit, Source.MOVEMENT, "deposit.completed"),
            (self.bobs_schedule, Source.TRANSITION, "withdrawal.scheduled"),
            (self.a_wallet, Source.WALLET, "wallet.created"),
            (self.bobs_freeze, Source.WALLET_CHANGE, "wallet.frozen"),
        ):
            with self.subTest(kind):
                with self.held_open(work):
                    self.everything_of_alice()
                    sequencer.catch_up()
                    seen = feed.read(0, 1000)
                    self.assertEqual(self.new_gaps(), [source])
                    # It is not waited for, and not found before it is committed.
                    self.assertFalse(sequencer.finds_work())
                self.assertTrue(sequencer.finds_work())
                sequencer.catch_up()
                now = feed.read(0, 1000)
                self.assertEqual(now[: len(seen)], seen)
                self.assertEqual([one.type for one in now[len(seen) :]], [kind])
                self.assertEqual(self.new_gaps(), [])

    def test_that_is_rolled_back_is_looked_for_for_ever_and_never_invented(
        self,
    ) -> None:
        with self.held_open(self.bobs_deposit, commit=False):
            self.everything_of_alice()
            sequencer.catch_up()
        before = types()
        sequencer.catch_up()
        self.assertEqual(types(), before)
        self.assertEqual(self.new_gaps(), [Source.MOVEMENT])

    def test_of_two_at_once_keeps_both(self) -> None:
        with self.held_open(self.bobs_deposit), self.held_open(self.a_wallet):
            self.everything_of_alice()
            sequencer.catch_up()
        sequencer.catch_up()
        self.assertEqual(self.new_gaps(), [])


class RivalTest(CommittingTestCase):
    """Several sequencers at the same time, while the ledger is written."""

    ROUNDS = 8

    def passes(self) -> int:
        done = 0
        for _ in range(3 * self.ROUNDS):
            done += sequencer.run_pass(limit=3).events
        return done

    def test_give_each_row_one_place(self) -> None:
        wallets = [self.alice, self.bob]

        def write(number: int) -> None:
            for amount in range(1, self.ROUNDS):
                deposit(wallets[number], amount)
                due_withdrawal(wallets[number], amount, due=self.now)

        results = race(
            self.passes, self.passes, self.passes, lambda: write(0), lambda: write(1)
        )
        for result in results:
            self.assertNotIsInstance(result, Exception, result)
        given = sum(result or 0 for result in results) + sequencer.catch_up()
        self.assertEqual(given, Event.objects.count())
        self.assertEqual(broken_rules(), [])

    def test_that_have_never_run_begin_together(self) -> None:
        results = race(*[sequencer.run_pass] * 4)
        for result in results:
            self.assertNotIsInstance(result, Exception, result)
        self.assertEqual(types(), ["wallet.created"] * 2)


class AppendOnlyTest(WalletTestCase):
    """Places are never changed or taken back, by any statement."""

    def test_refuses_an_update_and_a_delete(self) -> None:
        sequencer.catch_up()
        for sql in (
            "UPDATE events_event SET position = position + 100",
            "DELETE FROM events_event",
        ):
            with (
                self.subTest(sql),
                self.assertRaises(DatabaseError) as got,
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(sql)
            self.assertIn("events_event is append-only", str(got.exception))

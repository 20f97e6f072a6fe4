"""A withdrawal gets another time, as long as no attempt was made."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

from django.conf import settings

from wallets.errors import (
    IdempotencyKeyReused,
    InvalidInput,
    InvalidSchedule,
    NotReschedulable,
)
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.ledger import ledger_audit
from wallets.services.payouts import dispatch, payout, sweeps, waiting
from wallets.services.payouts.claiming import find_due
from wallets.services.wallets import life
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders, marks
from wallets.tests.base import (
    END_OF_TIME,
    OSCAR,
    CommittingTestCase,
    WalletTestCase,
)
from wallets.tests.fakes import Does
from wallets.tests.races import FEW, ROUNDS, rounds
from wallets.tests.test_states import ReachedStates
from wallets.utils.messaging import broker

Status = Transaction.Status
HOUR = 3600


def written(withdrawal: Transaction) -> tuple[Any, ...]:
    """Return everything that a reschedule may write."""
    row = Transaction.objects.filter(pk=withdrawal.pk).values().get()
    return row, list(withdrawal.transitions.values())


class RescheduleTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.withdrawal = WithdrawalService.schedule(
            self.alice.uuid, 400, self.after(HOUR), now=self.now
        )

    def reschedule(self, seconds: float, *, at: float = 0) -> Transaction:
        return WithdrawalService.reschedule(
            self.withdrawal.pk, self.after(seconds), now=self.after(at)
        )

    def execute(self, *does: Does, at: float = 0) -> Transaction:
        self.bank.script.extend(does)
        return WithdrawalService.execute(
            self.withdrawal.pk, bank=self.bank, now=self.after(at)
        )

    def test_moves_the_payment_to_a_later_time(self) -> None:
        self.reschedule(2 * HOUR)
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(at=2 * HOUR - 1)
        self.assertEqual(self.execute(at=2 * HOUR).status, Status.COMPLETED)
        self.assert_money(self.alice, balance=600)

    def test_moves_the_payment_to_a_sooner_time(self) -> None:
        self.reschedule(60)
        self.assertEqual(self.execute(at=60).status, Status.COMPLETED)

    def test_is_recorded_with_actor_and_both_times(self) -> None:
        done = WithdrawalService.reschedule(
            self.withdrawal.pk, self.after(60), actor=OSCAR, now=self.now
        )
        self.assertEqual(
            (done.status, done.scheduled_for, done.first_scheduled_for),
            (Status.PENDING, self.after(60), self.after(HOUR)),
        )
        row = self.withdrawal.transitions.get(event="reschedule")
        self.assertEqual((row.from_state, row.to_state), ("pending", "pending"))
        self.assertEqual((row.actor, row.sequence), (OSCAR, 1))
        self.assertEqual(row.scheduled_for, self.after(60))
        first = self.withdrawal.transitions.get(event="schedule")
        self.assertIsNone(first.scheduled_for)

    def test_moves_no_money(self) -> None:
        self.reschedule(60)
        self.assertFalse(self.withdrawal.movements.exists())
        self.assert_money(self.alice, balance=1000)

    def test_keeps_the_time_of_the_request_for_ever(self) -> None:
        for seconds in (60, 120, 30):
            self.reschedule(seconds)
            self.withdrawal.refresh_from_db()
            self.assertEqual(self.withdrawal.first_scheduled_for, self.after(HOUR))
            self.assertEqual(self.withdrawal.scheduled_for, self.after(seconds))
        times = self.withdrawal.transitions.filter(event="reschedule")
        self.assertEqual(
            list(times.values_list("scheduled_for", flat=True)),
            [self.after(60), self.after(120), self.after(30)],
        )

    def test_can_bring_the_first_time_back(self) -> None:
        self.reschedule(60)
        self.reschedule(HOUR)
        self.withdrawal.refresh_from_db()
        self.assertEqual(self.withdrawal.scheduled_for, self.after(HOUR))
        self.assertEqual(self.withdrawal.transitions.count(), 3)

    def test_refuses_a_time_that_is_no_instant_in_the_future(self) -> None:
        before = written(self.withdrawal)
        far = timedelta(days=settings.WITHDRAWAL_MAX_HORIZON_DAYS, seconds=1)
        for when, code in (
            (self.now - timedelta(hours=1), "scheduled_for_in_the_past"),
            (self.now, "scheduled_for_in_the_past"),
            (self.now + far, "scheduled_for_too_far"),
            (self.after(60).replace(tzinfo=None), "scheduled_for_invalid"),
            ("2030-01-01T00:00:00Z", "scheduled_for_invalid"),
            (None, "scheduled_for_invalid"),
        ):
            with self.subTest(when=when), self.assertRaises(InvalidSchedule) as got:
                WithdrawalService.reschedule(
                    self.withdrawal.pk,
                    when,  # type: ignore[arg-type]
                    now=self.now,
                )
            self.assertEqual(got.exception.code, code)
            self.assertIsInstance(got.exception, ValueError)
        self.assertEqual(written(self.withdrawal), before)

    def test_reads_the_databases_clock(self) -> None:
        with self.assertRaises(InvalidSchedule):
            WithdrawalService.reschedule(self.withdrawal.pk, self.now)
        WithdrawalService.reschedule(self.withdrawal.pk, self.after(600))

    def test_changes_nothing_for_the_time_that_it_has(self) -> None:
        before = written(self.withdrawal)
        done = self.reschedule(HOUR)
        self.assertEqual(done.scheduled_for, self.after(HOUR))
        self.assertEqual(written(self.withdrawal), before)

    def test_changes_nothing_for_the_time_that_it_has_when_it_is_due(self) -> None:
        before = written(self.withdrawal)
        self.reschedule(HOUR, at=2 * HOUR)
        self.assertEqual(written(self.withdrawal), before)

    def test_can_be_repeated_whatever_has_become_of_the_withdrawal(self) -> None:
        self.reschedule(60)
        for act, status in (
            (lambda: None, Status.PENDING),
            (partial(self.execute, Does.REFUSE, at=60), Status.FAILED),
            (partial(self.execute, at=HOUR), Status.COMPLETED),
        ):
            act()
            before = written(self.withdrawal)
            with self.subTest(status=status):
                self.assertEqual(self.reschedule(60, at=2 * HOUR).status, status)
                self.assertEqual(written(self.withdrawal), before)

    def test_is_possible_when_it_is_due_and_not_claimed(self) -> None:
        self.reschedule(2 * HOUR, at=HOUR + 60)
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(at=HOUR + 60)

    def test_is_not_possible_once_it_is_cancelled(self) -> None:
        WithdrawalService.cancel(self.withdrawal.pk)
        with self.assertRaises(NotReschedulable):
            self.reschedule(60)

    def test_is_not_possible_for_the_first_time_once_it_has_ended(self) -> None:
        """The time that it has is no new time, and it was never rescheduled."""
        self.execute(at=HOUR)
        with self.assertRaises(NotReschedulable):
            self.reschedule(HOUR, at=HOUR + 1)

    def test_refuses_an_empty_actor_a_deposit_and_nothing(self) -> None:
        with self.assertRaises(InvalidInput):
            WithdrawalService.reschedule(self.withdrawal.pk, self.after(60), actor=" ")
        for pk in (self.deposit(5).pk, 10**15):
            with self.assertRaises(Transaction.DoesNotExist):
                WithdrawalService.reschedule(pk, self.after(60))

    def test_measures_lateness_from_the_new_time(self) -> None:
        self.reschedule(2 * HOUR)
        done = self.execute(at=2 * HOUR)
        self.assertEqual(done.executed_at, done.scheduled_for)


class RescheduleOfTest(WalletTestCase):
    """The call that finds and reschedules a withdrawal…"""

    def test_finds_it_under_its_wallet(self) -> None:
        withdrawal = self.due_withdrawal(5)
        done = WithdrawalService.reschedule_of(
            str(self.alice.uuid), withdrawal.pk, self.after(600)
        )
        self.assertEqual((done.pk, done.wallet.uuid), (withdrawal.pk, self.alice.uuid))
        self.assertEqual(done.scheduled_for, self.after(600))

    def test_refuses_a_deposit(self) -> None:
        with self.assertRaises(NotReschedulable):
            WithdrawalService.reschedule_of(
                self.alice.uuid, self.deposit(5).pk, self.after(600)
            )

    def test_finds_it_under_no_other_wallet(self) -> None:
        withdrawal = self.due_withdrawal(5)
        for wallet in (self.bob.uuid, uuid.uuid4(), "nonsense"):
            with self.assertRaises(Transaction.DoesNotExist):
                WithdrawalService.reschedule_of(wallet, withdrawal.pk, self.after(600))
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.version, 0)


class RescheduleInAStateTest(ReachedStates):
    def test_is_refused_in_every_state_but_pending(self) -> None:
        for state in State:
            withdrawal = self.in_state(state)
            before = written(withdrawal)
            new = partial(
                WithdrawalService.reschedule,
                withdrawal.pk,
                self.after(99 * HOUR),
                now=self.now,
            )
            with self.subTest(state=state.value):
                if state is State.PENDING:
                    self.assertIs(new().state, State.PENDING)
                    continue
                with self.assertRaises(NotReschedulable) as got:
                    new()
                self.assertEqual(got.exception.state, state.value)
                self.assertEqual(written(withdrawal), before)


class RescheduleWhileFrozenTest(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.due_withdrawal(400)
        life.freeze(self.alice.uuid, "out", reason="a test", actor=OSCAR)
        waiting.begin_for_frozen(find_due(self.now))
        self.withdrawal.refresh_from_db()
        self.assertTrue(self.withdrawal.waits_for_wallet)

    def reschedule(self) -> None:
        done = WithdrawalService.reschedule(
            self.withdrawal.pk, self.after(60), now=self.now
        )
        self.assertFalse(done.waits_for_wallet)
        self.withdrawal.refresh_from_db()
        self.assertFalse(self.withdrawal.waits_for_wallet)

    def unfreeze(self) -> None:
        life.unfreeze(self.alice.uuid, "out", reason="a test", actor=OSCAR)

    def test_ends_the_wait_and_is_paid_at_the_new_time(self) -> None:
        self.reschedule()
        self.unfreeze()
        self.alice.refresh_from_db()
        self.assertFalse(self.alice.has_waiting)
        self.assertFalse(find_due(self.after(59)).exists())
        done = WithdrawalService.execute(
            self.withdrawal.pk, bank=self.bank, now=self.after(60)
        )
        self.assertEqual(done.status, Status.COMPLETED)

    def test_waits_again_if_the_wallet_is_frozen_at_the_new_time(self) -> None:
        self.reschedule()
        payout.claim(
            find_due(self.after(60)),
            bank=self.bank.abilities,
            limit=1,
            now=self.after(60),
        )
        self.withdrawal.refresh_from_db()
        self.assertTrue(self.withdrawal.waits_for_wallet)
        self.assertEqual(self.bank.requests, [])
        self.unfreeze()
        done = WithdrawalService.execute(
            self.withdrawal.pk, bank=self.bank, now=self.after(90)
        )
        self.assertEqual(done.status, Status.COMPLETED)

    def test_fails_at_the_new_time_if_it_was_to_fail(self) -> None:
        strict = builders.due_withdrawal(self.bob, 5, due=self.now)
        Transaction.objects.filter(pk=strict.pk).update(fails_if_frozen=True)
        life.freeze(self.bob.uuid, "out", reason="a test", actor=OSCAR)
        WithdrawalService.reschedule(strict.pk, self.after(60), now=self.now)
        self.assertFalse(find_due(self.after(59)).filter(pk=strict.pk).exists())
        done = WithdrawalService.execute(strict.pk, bank=self.bank, now=self.after(60))
        self.assertEqual(done.failure_code, "wallet_frozen")


class RescheduleHandOverTest(WalletTestCase):
    """A worker is told of a time that comes before the next tick, after the commit."""

    def woken(self, seconds: float) -> list[str]:
        withdrawal = WithdrawalService.schedule(
            self.alice.uuid, 5, self.after(HOUR), now=self.now
        )
        with mock.patch.object(broker, "wake_up") as wake_up:
            with self.captureOnCommitCallbacks() as callbacks:
                WithdrawalService.reschedule(
                    withdrawal.pk, self.after(seconds), now=self.now
                )
            self.assertEqual(wake_up.call_count, 0)
            for callback in callbacks:
                callback()
        return [call.args[0] for call in wake_up.call_args_list]

    def test_wakes_a_drain(self) -> None:
        self.assertEqual(self.woken(3), [dispatch.DRAIN_PENDING])

    def test_leaves_what_is_later_to_the_tick(self) -> None:
        self.assertEqual(self.woken(settings.WITHDRAWAL_DUE_INTERVAL + 1), [])


class RescheduledRequestTest(WalletTestCase):
    """A repeated request for the withdrawal is still known after a reschedule."""

    def setUp(self) -> None:
        super().setUp()
        self.key = uuid.uuid4()
        self.first = self.ask(HOUR)

    def ask(self, seconds: float) -> Transaction:
        return WithdrawalService.schedule(
            self.alice.uuid, 5, self.after(seconds), self.key, now=self.now
        )

    def test_with_the_first_time_is_a_replay(self) -> None:
        for seconds in (60, 120, HOUR):
            WithdrawalService.reschedule(
                self.first.pk, self.after(seconds), now=self.now
            )
            again = self.ask(HOUR)
            self.assertEqual(again.pk, self.first.pk)
            self.assertEqual(again.scheduled_for, self.after(seconds))
        self.assertEqual(Transaction.objects.count(), 1)

    def test_with_the_new_time_is_another_request(self) -> None:
        WithdrawalService.reschedule(self.first.pk, self.after(60), now=self.now)
        with self.assertRaises(IdempotencyKeyReused):
            self.ask(60)
        self.assertEqual(Transaction.objects.count(), 1)


class RescheduleAuditTest(WalletTestCase):
    """`verify_ledger` names times that do not agree."""

    books_must_be_right = False

    def setUp(self) -> None:
        super().setUp()
        self.withdrawal = WithdrawalService.reschedule(
            self.due_withdrawal(5).pk, self.after(600)
        )
        self.rows = Transaction.objects.filter(pk=self.withdrawal.pk)

    def found(self) -> list[tuple[str, str]]:
        findings = ledger_audit.verify(now=END_OF_TIME)
        return [(one.check, one.row) for one in findings]

    def test_finds_nothing_if_they_agree(self) -> None:
        self.assertEqual(self.found(), [])

    def test_names_a_time_that_no_reschedule_gave(self) -> None:
        row = f"transaction {self.withdrawal.pk}"
        self.rows.update(scheduled_for=self.after(700))
        self.assertEqual(self.found(), [("scheduled_for", row)])

    def test_names_a_withdrawal_whose_first_time_is_missing(self) -> None:
        row = f"transaction {self.withdrawal.pk}"
        self.rows.update(first_scheduled_for=None)
        self.assertEqual(self.found(), [("first_scheduled_for", row)])

    def test_names_a_first_time_without_a_reschedule(self) -> None:
        other = self.due_withdrawal(5)
        Transaction.objects.filter(pk=other.pk).update(first_scheduled_for=self.now)
        self.assertEqual(self.found(), [("scheduled_for", f"transaction {other.pk}")])


@marks.slow
class RescheduleAgainstClaimTest(CommittingTestCase):
    """One of both wins: either it is paid, or nothing is paid before the new time."""

    def test_has_one_winner(self) -> None:
        self.deposit(ROUNDS)
        wins: Counter[str] = Counter()

        def judge(withdrawal: Transaction, results: list[Any]) -> None:
            moved, executed = results
            withdrawal.refresh_from_db()
            wins[withdrawal.status] += 1
            if withdrawal.status == Status.PENDING:
                self.assertEqual(moved.scheduled_for, self.after(HOUR))
                self.assertIsInstance(executed, Transaction.DoesNotExist)
                self.assertFalse(withdrawal.attempts.exists())
                self.assertFalse(find_due(self.after(HOUR - 1)).exists())
            else:
                self.assertIsInstance(moved, NotReschedulable)
                self.assertEqual(withdrawal.status, Status.COMPLETED)
                self.assertIsNone(withdrawal.first_scheduled_for)

        rounds(ROUNDS, *self.prepared(), judge)
        self.assertEqual(set(wins), {Status.PENDING, Status.COMPLETED}, wins)
        self.assertEqual(len(self.bank.paid), wins[Status.COMPLETED])
        self.assert_money(self.alice, balance=ROUNDS - wins[Status.COMPLETED])

    def prepared(self) -> tuple[Callable[..., Any], list[Callable[..., Any]]]:
        """Return what prepares a round, and the runners."""
        done = {"reschedule": threading.Event(), "execute": threading.Event()}
        # Sometimes one caller waits for the other, so that each of them wins.
        held_back = ""

        def prepare(number: int) -> Transaction:
            nonlocal held_back
            for event in done.values():
                event.clear()
            held_back = {0: "reschedule", 1: "execute"}.get(number % 20, "")
            return self.due_withdrawal(1)

        def run(name: str, other: str, act: Callable[[int], Any], row: Any) -> Any:
            if held_back == name:
                done[other].wait(20)
            try:
                return act(row.pk)
            finally:
                done[name].set()

        def execute(pk: int) -> Transaction:
            return WithdrawalService.execute(pk, bank=self.bank, now=self.now)

        def reschedule(pk: int) -> Transaction:
            return WithdrawalService.reschedule(pk, self.after(HOUR))

        return prepare, [
            partial(run, "reschedule", "execute", reschedule),
            partial(run, "execute", "reschedule", execute),
        ]


@marks.slow
class RescheduleAgainstOthersTest(CommittingTestCase):
    def test_and_cancel_leave_a_cancelled_withdrawal(self) -> None:
        def reschedule(row: Transaction) -> Transaction:
            return WithdrawalService.reschedule(row.pk, self.after(HOUR))

        def cancel(row: Transaction) -> Transaction:
            return WithdrawalService.cancel(row.pk)

        def judge(withdrawal: Transaction, results: list[Any]) -> None:
            moved, cancelled = results
            self.assertEqual(cancelled.status, Status.CANCELLED)
            withdrawal.refresh_from_db()
            self.assertEqual(withdrawal.status, Status.CANCELLED)
            was_moved = not isinstance(moved, NotReschedulable)
            self.assertEqual(withdrawal.transitions.count(), 3 if was_moved else 2)

        rounds(FEW, lambda _: self.due_withdrawal(1), [reschedule, cancel], judge)

    def test_and_another_reschedule_leave_the_time_of_the_second_one(self) -> None:
        def to(seconds: float, row: Transaction) -> Transaction:
            return WithdrawalService.reschedule(row.pk, self.after(seconds))

        def judge(withdrawal: Transaction, results: list[Any]) -> None:
            withdrawal.refresh_from_db()
            times = withdrawal.transitions.filter(event="reschedule")
            known = list(times.values_list("scheduled_for", flat=True))
            self.assertEqual(set(known), {self.after(HOUR), self.after(2 * HOUR)})
            self.assertEqual(withdrawal.scheduled_for, known[-1])
            self.assertEqual(withdrawal.first_scheduled_for, self.now)
            self.assertEqual(withdrawal.version, 2)

        both = [partial(to, HOUR), partial(to, 2 * HOUR)]
        rounds(FEW, lambda _: self.due_withdrawal(1), both, judge)

    def test_for_the_same_time_is_done_once(self) -> None:
        def reschedule(row: Transaction) -> Transaction:
            return WithdrawalService.reschedule(row.pk, self.after(HOUR))

        def judge(withdrawal: Transaction, results: list[Any]) -> None:
            self.assertEqual(
                {result.scheduled_for for result in results}, {self.after(HOUR)}
            )
            self.assertEqual(withdrawal.transitions.count(), 2)

        rounds(FEW, lambda _: self.due_withdrawal(1), [reschedule] * 3, judge)

    def test_before_a_sweep_is_not_paid_by_it(self) -> None:
        self.deposit(FEW)
        soon = [self.due_withdrawal(1) for _ in range(FEW)]
        for row in soon[::2]:
            WithdrawalService.reschedule(row.pk, self.after(HOUR))
        sweeps.pay_pending(bank=self.bank, seconds=0.5)
        self.assertEqual(len(self.bank.paid), FEW - len(soon[::2]))

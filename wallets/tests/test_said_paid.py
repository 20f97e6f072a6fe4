"""What the bank may have paid already is not paid again before a person has looked."""

from __future__ import annotations

from datetime import datetime
from unittest import mock

from django.conf import settings
from django.test import override_settings

from wallets.errors import IllegalTransition, InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm, metrics, payout_health, record, review
from wallets.services.operations.reconciliation import Comparison
from wallets.services.payouts import dispatch, payout, resolver
from wallets.services.payouts.claiming import (
    Claiming,
    FindDue,
    find_due,
    find_retryable,
)
from wallets.services.payouts.drain import Drain
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import DEDUPES_ONLY, Does, FakeBank
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.messaging import broker

OSCAR = "oscar"
LINE = "statement 2026-11-30, line 4"
PAID = Answer(Outcome.ACCEPTED, "paid", 200)
PAID_AFTER_RELEASE = Alarm.Kind.PAID_AFTER_RELEASE
UNKNOWN_PAYMENT = Alarm.Kind.UNKNOWN_PAYMENT


class SaidPaidTestCase(WalletTestCase):
    """Withdrawals and alarms about them, and sweeps."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)

    def say_paid(
        self, withdrawal: Transaction, kind: Alarm.Kind, number: int = 1
    ) -> None:
        alarm.raise_alarm(kind, withdrawal, attempt_number=number, detail=LINE)

    def refused(self) -> Transaction:
        withdrawal = self.due_withdrawal(100)
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        withdrawal.refresh_from_db()
        return withdrawal

    def drain(self, find: FindDue, at: datetime | None = None) -> int:
        clock = (lambda: at) if at else None
        return Drain(find, bank=self.bank, seconds=10, now=clock).run()

    def retry(self) -> int:
        return self.drain(find_retryable, at=self.after(3600))

    def assert_status(self, withdrawal: Transaction, status: str) -> None:
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, status)


class SaidPaidTest(SaidPaidTestCase):
    """A withdrawal that an alarm says to be paid…"""

    def test_is_not_tried_again_after_a_late_answer(self):
        withdrawal = self.due_withdrawal(100)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        (sending,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.now
        ).sendings
        refused = Answer(Outcome.REJECTED, "refused", 503)
        payout.record([(sending, refused)], now=self.now)
        payout.record([(sending, PAID)], now=self.after(1))
        self.assertEqual(withdrawal.alarms.get().kind, PAID_AFTER_RELEASE)
        self.assertEqual(self.retry(), 0)
        self.assertEqual(self.bank.paid, [])
        self.assert_status(withdrawal, "FAILED")

    def test_is_not_tried_again_after_an_operators_word(self):
        withdrawal = self.refused()
        with self.assertRaises(IllegalTransition):
            review.resolve(withdrawal.pk, paid=True, evidence=LINE, actor=OSCAR)
        self.assertEqual(self.retry(), 0)
        self.assertEqual(self.bank.paid, [])

    def test_is_not_paid_when_it_is_due(self):
        kinds = Alarm.Kind
        for kind in (
            kinds.PAID_AFTER_RELEASE,
            kinds.UNKNOWN_PAYMENT,
            kinds.PAID_TWICE,
            kinds.PAID_OTHERWISE,
        ):
            withdrawal = self.due_withdrawal(100)
            self.say_paid(withdrawal, kind)
            with self.subTest(kind):
                self.assertEqual(self.drain(find_due), 0)
                with self.assertRaises(Transaction.DoesNotExist):
                    WithdrawalService.execute(withdrawal.pk, bank=self.bank)
                self.assertEqual(self.bank.paid, [])
                self.assert_status(withdrawal, "PENDING")

    @override_settings(WITHDRAWAL_BATCH_SIZE=2, WITHDRAWAL_CONCURRENCY=2)
    def test_keeps_nobody_else_waiting(self):
        for _ in range(5):
            self.say_paid(self.due_withdrawal(1), UNKNOWN_PAYMENT)
        others = [self.due_withdrawal(10) for _ in range(3)]
        self.assertEqual(self.drain(find_due), 3)
        for other in others:
            self.assert_status(other, "COMPLETED")
        self.assertEqual([each.amount for each in self.bank.paid], [10] * 3)

    def test_is_tried_again_when_the_alarm_is_acknowledged(self):
        withdrawal = self.refused()
        self.say_paid(withdrawal, PAID_AFTER_RELEASE)
        alarm.acknowledge(withdrawal.alarms.get().pk, actor=OSCAR)
        self.assertEqual(self.retry(), 1)
        self.assert_status(withdrawal, "COMPLETED")

    def test_is_not_tried_again_after_other_evidence_than_was_acknowledged(self):
        """A late answer may be a mistake; then the bank's list has the payment."""
        withdrawal = self.refused()
        self.say_paid(withdrawal, PAID_AFTER_RELEASE)
        alarm.acknowledge(withdrawal.alarms.get().pk, actor=OSCAR)
        made = withdrawal.attempts.get()
        line = StatementLine(made.reference, self.alice.uuid, 100, self.now)
        for at in (20, 30):
            comparison = Comparison([line], self.after(at), since=self.after(-60))
            list(comparison.findings())
            opened = withdrawal.alarms.get()
            self.assertIsNone(opened.acknowledged_at)
            self.assertIn(f"Acknowledged before by {OSCAR}: {LINE}", opened.detail)
        self.assertEqual(self.retry(), 0)
        alarm.acknowledge(opened.pk, actor=OSCAR)
        list(Comparison([line], self.after(40), since=self.after(-60)).findings())
        self.say_paid(withdrawal, PAID_AFTER_RELEASE)
        self.assertEqual(self.retry(), 1)

    def test_is_not_stopped_by_alarms_that_say_something_else(self):
        withdrawal = self.due_withdrawal(100)
        kinds = Alarm.Kind
        for kind in (kinds.CONTRADICTION, kinds.NEEDS_REVIEW, kinds.NOT_ON_STATEMENT):
            self.say_paid(withdrawal, kind)
        self.assertEqual(self.drain(find_due), 1)

    def test_cannot_be_retried_by_an_operator(self):
        withdrawal = self.refused()
        self.say_paid(withdrawal, PAID_AFTER_RELEASE)
        with self.assertRaisesMessage(InvalidInput, f"{LINE}. Record the payment"):
            WithdrawalService.retry_now(withdrawal.pk, actor=OSCAR)

    def test_can_be_recorded_which_closes_the_alarm(self):
        withdrawal = self.refused()
        self.say_paid(withdrawal, PAID_AFTER_RELEASE)
        record.record_paid(withdrawal.pk, evidence=LINE, actor=OSCAR)
        self.assert_status(withdrawal, "COMPLETED")
        self.assertEqual(withdrawal.alarms.get().acknowledged_by, OSCAR)
        self.assertEqual(self.bank.paid, [])
        self.assert_money(self.alice, balance=900)

    def recorded_alarms(self) -> dict[int, bool]:
        """Record what is said of attempts 1 and 2; return which alarms are closed."""
        withdrawal = self.refused()
        self.say_paid(withdrawal, PAID_AFTER_RELEASE, 1)
        self.say_paid(withdrawal, UNKNOWN_PAYMENT, 2)
        second = reference_of(withdrawal, self.alice.uuid, 2)
        record.record_paid(withdrawal.pk, evidence=LINE, actor=OSCAR, reference=second)
        return {
            each.attempt_number: each.acknowledged_at is not None
            for each in withdrawal.alarms.all()
        }

    def test_keeps_the_alarm_about_another_attempt_than_the_recorded_one(self):
        self.assertEqual(self.recorded_alarms(), {1: False, 2: True})

    def test_keeps_the_alarm_if_the_reference_recorded_is_another_ones(self):
        withdrawal = self.refused()
        self.say_paid(withdrawal, PAID_AFTER_RELEASE, 1)
        second = reference_of(withdrawal, self.alice.uuid, 2)
        record.record_paid(withdrawal.pk, evidence=LINE, actor=OSCAR, reference=second)
        self.assertIsNone(withdrawal.alarms.get().acknowledged_at)

    def resend(self, *, said_paid: int) -> tuple[State | None, int]:
        """Return state and requests after a look at the unknown second attempt."""
        self.bank = FakeBank(DEDUPES_ONLY)
        withdrawal = self.refused()
        self.bank.script.append(Does.PAY_SILENTLY)
        self.assertEqual(self.retry(), 1)
        self.say_paid(withdrawal, UNKNOWN_PAYMENT, said_paid)
        before = len(self.bank.requests)
        later = 3600 + 2 * settings.WITHDRAWAL_LEASE
        elapsed = mock.patch("wallets.utils.clock.elapsed", return_value=later * 10.0)
        with elapsed:
            resolver.resolve_due(
                bank=self.bank, limit=9, now=self.after(later), elapsed=later * 10.0
            )
        withdrawal.refresh_from_db()
        return withdrawal.state, len(self.bank.requests) - before

    def test_is_not_sent_again_to_a_bank_that_dedupes(self):
        """An earlier attempt was paid, and the outcome of this one is unknown."""
        self.assertEqual(self.resend(said_paid=1), (State.NEEDS_REVIEW, 0))

    def test_is_sent_again_if_the_alarm_is_about_the_same_reference(self):
        self.assertEqual(self.resend(said_paid=2), (State.COMPLETED, 1))


@override_settings(WITHDRAWAL_BATCH_SIZE=2, WITHDRAWAL_CONCURRENCY=2)
class ManySaidPaidTest(SaidPaidTestCase):
    """Withdrawals that alarms say to be paid, more than a batch, due before others…"""

    def hold(self, find: FindDue, count: int = 5) -> None:
        for each in [self.due(find) for _ in range(count)]:
            self.say_paid(each, UNKNOWN_PAYMENT)

    def due(self, find: FindDue) -> Transaction:
        """Return a withdrawal that this query finds, after all that it found so far."""
        if find is find_due:
            return self.due_withdrawal(10)
        return self.refused()

    def claiming(self, find: FindDue) -> Claiming:
        """Return the claims of a sweep that begins later, in another process."""
        later = self.after(3600)
        return Drain(find, bank=self.bank, seconds=10, now=lambda: later).claiming

    def late(self) -> tuple[float, float]:
        """Return for how long the oldest withdrawal and the oldest retry are due."""
        health = payout_health.look(self.after(3600))
        return health.oldest_due_seconds, health.oldest_retry_due_seconds

    def test_keep_nobody_else_waiting(self):
        for find in (find_due, find_retryable):
            self.hold(find)
            strangers = [self.due(find) for _ in range(5)]
            with self.subTest(find.__name__):
                self.assertEqual(self.drain(find, at=self.after(3600)), 5)
                for stranger in strangers:
                    self.assert_status(stranger, "COMPLETED")

    def test_are_no_work_that_a_sweep_leaves(self):
        for find in (find_due, find_retryable):
            self.hold(find)
            with self.subTest(find.__name__):
                self.assertFalse(self.claiming(find).leaves_work())
                self.due(find)
                self.assertTrue(self.claiming(find).leaves_work())

    def test_wake_no_worker(self):
        self.hold(find_due)
        self.hold(find_retryable)
        Transaction.objects.filter(status="FAILED").update(next_attempt_at=self.now)
        with mock.patch.object(broker, "wake_up") as wake_up:
            self.assertEqual(dispatch.wake_for_pending(), 0)
            self.assertEqual(dispatch.wake_for_retries(), 0)
        wake_up.assert_not_called()

    def test_cost_a_sweep_one_claim(self):
        for find in (find_due, find_retryable):
            self.hold(find)
            with self.subTest(find.__name__):
                with mock.patch.object(payout, "claim", wraps=payout.claim) as claim:
                    Drain(find, bank=self.bank, seconds=1).run()
                self.assertEqual(claim.call_count, 1)

    def test_are_not_late(self):
        self.hold(find_due)
        self.hold(find_retryable)
        self.assertEqual(self.late(), (0, 0))

    def test_hide_no_delay_of_others(self):
        self.hold(find_due)
        self.hold(find_retryable)
        self.due(find_retryable)
        self.due(find_due)
        for seconds in self.late():
            self.assertGreater(seconds, 0)

    def test_are_not_counted_as_due(self):
        self.hold(find_due)
        self.hold(find_retryable)
        Transaction.objects.filter(status="FAILED").update(next_attempt_at=self.now)
        found = metrics.figures()
        self.assertEqual((found.due, found.retries_due), (0, 0))
        self.assertEqual(found.alarms, {UNKNOWN_PAYMENT: 10})

"""The withdrawal service, with a bank that follows a script."""

import uuid
from datetime import timedelta

from wallets.errors import (
    IdempotencyKeyReused,
    IllegalTransition,
    InvalidAmount,
    InvalidSchedule,
    NotCancelable,
    UnknownIsNotFailed,
)
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import payout
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does
from wallets.utils.bank.interface import Answer, Outcome

Status = Transaction.Status


class WithdrawalTestCase(WalletTestCase):
    def execute(self, withdrawal, *does, at=0):
        self.bank.script.extend(does)
        return WithdrawalService.execute(
            withdrawal.pk, bank=self.bank, now=self.after(at)
        )


class WithdrawalServiceTest(WithdrawalTestCase):
    def test_schedules_without_looking_at_the_balance(self):
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 5000, self.after(60))

        self.assertEqual(withdrawal.status, Status.PENDING)
        self.assertTrue(withdrawal.cancelable)
        self.assert_money(self.alice, balance=0)

    def test_refuses_a_time_that_is_no_instant_in_the_future(self):
        for when in (
            self.now - timedelta(hours=1),
            self.now,
            self.after(60).replace(tzinfo=None),
            self.now + timedelta(days=365 * 30),
            "2030-01-01T00:00:00Z",
            None,
        ):
            with self.subTest(when=when), self.assertRaises(InvalidSchedule) as got:
                WithdrawalService.schedule(self.alice.uuid, 1, when, now=self.now)
            self.assertIsInstance(got.exception, ValueError)

    def test_refuses_a_bad_amount_and_an_unknown_wallet(self):
        with self.assertRaises(InvalidAmount):
            WithdrawalService.schedule(self.alice.uuid, 0, self.after(60))
        with self.assertRaises(Wallet.DoesNotExist):
            WithdrawalService.schedule(uuid.uuid4(), 1, self.after(60))

    def test_execute_success(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)

        done = self.execute(withdrawal)

        self.assertEqual(done.status, Status.COMPLETED)
        self.assertEqual(done.executed_at, self.now)
        self.assertEqual([p.amount for p in self.bank.paid], [400])
        self.assertEqual(self.bank.paid[0].wallet_uuid, self.alice.uuid)
        self.assert_money(self.alice, balance=600)

    def test_execute_fails_for_good_without_enough_balance(self):
        self.deposit(399)
        done = self.execute(self.due_withdrawal(400))

        self.assertEqual((done.status, done.final), (Status.FAILED, True))
        self.assertIn("Insufficient balance", done.third_party_response)
        self.assertEqual(done.failure_code, "insufficient_balance")
        self.assertEqual(self.bank.requests, [])
        self.assert_money(self.alice, balance=399)

    def test_execute_judges_the_balance_when_it_is_due(self):
        withdrawal = self.due_withdrawal(400)
        self.deposit(400)
        self.assertEqual(self.execute(withdrawal).status, Status.COMPLETED)

    def test_execute_refunds_when_the_bank_refuses(self):
        self.deposit(1000)
        done = self.execute(self.due_withdrawal(400), Does.REFUSE)

        self.assertEqual((done.status, done.final), (Status.FAILED, False))
        self.assertGreater(done.next_attempt_at, self.now)
        self.assert_money(self.alice, balance=1000)

    def test_execute_refunds_when_the_bank_cannot_be_reached(self):
        self.deposit(1000)
        done = self.execute(self.due_withdrawal(400), Does.UNREACHABLE)

        self.assertEqual(done.failure_code, "bank_unreachable")
        self.assertEqual(self.bank.requests, [])
        self.assert_money(self.alice, balance=1000)

    def test_execute_holds_the_money_while_the_outcome_is_unknown(self):
        self.deposit(1000)
        for does in (Does.PAY_SILENTLY, Does.LOSE):
            done = self.execute(self.due_withdrawal(400), does)
            self.assertEqual(done.status, Status.PROCESSING)
            self.assertIsNotNone(done.unknown_since)
        self.assert_money(self.alice, balance=200, held=800)

    def test_execute_does_nothing_before_the_time(self):
        self.deposit(1000)
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 400, self.after(60))
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(withdrawal, at=59)
        self.assertEqual(self.execute(withdrawal, at=60).status, Status.COMPLETED)

    def test_execute_finds_nothing_left_to_do(self):
        self.deposit(1000)
        done = self.execute(self.due_withdrawal(400))
        unknown = self.execute(self.due_withdrawal(100), Does.LOSE)
        for pk in (done.pk, unknown.pk, 10**9, self.deposit(1).pk):
            with self.subTest(pk=pk), self.assertRaises(Transaction.DoesNotExist):
                WithdrawalService.execute(pk, bank=self.bank, now=self.after(9999))
        self.assertEqual(len(self.bank.requests), 2)


class WithdrawalRetryTest(WithdrawalTestCase):
    def test_pays_on_a_retry_under_a_new_reference(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        self.execute(withdrawal, Does.REFUSE)
        done = self.execute(withdrawal, at=3600)

        self.assertEqual((done.status, done.retry_count), (Status.COMPLETED, 1))
        self.assertEqual(len({p.reference for p in self.bank.requests}), 2)
        self.assertEqual(len(self.bank.paid), 1)
        self.assert_money(self.alice, balance=600)

    def test_waits_before_it_tries_again(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        failed = self.execute(withdrawal, Does.REFUSE)
        wait = (failed.next_attempt_at - self.now).total_seconds()
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(withdrawal, at=wait - 1)

    def test_waits_longer_each_time(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        waits = []
        for round_number in range(3):
            at = round_number * 10_000
            failed = self.execute(withdrawal, Does.REFUSE, at=at)
            waits.append((failed.next_attempt_at - self.after(at)).total_seconds())
        self.assertLess(waits[0], waits[1])
        self.assertLess(waits[1], waits[2])

    def test_gives_up_after_three_retries(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        for round_number in range(4):
            done = self.execute(withdrawal, Does.REFUSE, at=round_number * 10_000)

        self.assertEqual((done.retry_count, done.final), (3, True))
        self.assertIsNone(done.next_attempt_at)
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(withdrawal, at=10**6)
        self.assert_money(self.alice, balance=1000)

    def test_fails_for_good_when_the_money_is_gone_by_then(self):
        self.deposit(400)
        withdrawal = self.due_withdrawal(400)
        self.execute(withdrawal, Does.REFUSE)
        self.execute(self.due_withdrawal(300))
        done = self.execute(withdrawal, at=3600)

        self.assertEqual((done.status, done.final), (Status.FAILED, True))
        self.assertEqual(done.failure_code, "insufficient_balance")
        self.assert_money(self.alice, balance=100)


class WithdrawalCancelTest(WithdrawalTestCase):
    def test_takes_back_what_has_not_begun(self):
        withdrawal = self.due_withdrawal(400)
        for _ in range(2):
            done = WithdrawalService.cancel(withdrawal.pk)
            self.assertEqual(done.status, Status.CANCELLED)
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(withdrawal)

    def test_takes_back_what_failed_and_would_be_tried_again(self):
        self.deposit(1000)
        failed = self.execute(self.due_withdrawal(400), Does.REFUSE)
        self.assertTrue(failed.cancelable)
        for _ in range(2):
            WithdrawalService.cancel(failed.pk)
            failed.refresh_from_db()
            self.assertEqual(failed.status, Status.CANCELLED)
            self.assertFalse(failed.cancelable)
            # It has no code of a failure, and no further attempt is planned.
            self.assertEqual(failed.failure_code, "")
            self.assertIsNone(failed.next_attempt_at)
        with self.assertRaises(Transaction.DoesNotExist):
            self.execute(failed, at=3600)
        with self.assertRaises(IllegalTransition):
            WithdrawalService.retry_now(failed.pk, actor="operator oscar")
        self.assertEqual(self.bank.paid, [])
        self.assert_money(self.alice, balance=1000)

    def test_keeps_the_failure_of_earlier_attempts(self):
        self.deposit(1000)
        failed = self.execute(self.due_withdrawal(400), Does.UNREACHABLE)
        WithdrawalService.cancel(failed.pk)
        events = failed.transitions.values_list("event", "from_state", "to_state")
        self.assertEqual(
            list(events)[-2:],
            [
                ("not_sent", "sending", "failed_retryable"),
                ("cancel", "failed_retryable", "cancelled"),
            ],
        )

    def test_raises_an_alarm_when_the_bank_paid_the_failed_attempt_after_all(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        rows = Transaction.objects.filter(pk=withdrawal.pk)
        (sending,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.now
        ).sendings
        payout.record([(sending, Answer(Outcome.REJECTED, "no"))], now=self.now)
        WithdrawalService.cancel(withdrawal.pk)
        payout.record([(sending, Answer(Outcome.ACCEPTED, "yes"))], now=self.now)
        self.assertEqual(withdrawal.alarms.get().kind, "paid_after_release")
        self.assert_money(self.alice, balance=1000)

    def test_refuses_what_has_begun_or_ended(self):
        self.deposit(1000)
        for does in (Does.PAY, Does.LOSE):
            done = self.execute(self.due_withdrawal(100), does)
            with self.subTest(does=does), self.assertRaises(NotCancelable):
                WithdrawalService.cancel(done.pk)

    def test_refuses_what_failed_for_good(self):
        done = self.execute(self.due_withdrawal(100))
        self.assertTrue(done.final)
        self.assertFalse(done.cancelable)
        with self.assertRaises(NotCancelable):
            WithdrawalService.cancel(done.pk)

    def test_does_not_find_deposits(self):
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.cancel(self.deposit(5).pk)


class WithdrawalRefundTest(WithdrawalTestCase):
    refused = Answer(Outcome.REJECTED, "the bank called us: it did not pay")

    def refund(self, withdrawal: Transaction, answer: Answer = refused):
        """Refund the withdrawal, with this answer about its last attempt."""
        reference = withdrawal.attempts.last().reference
        return WithdrawalService.refund(withdrawal.pk, answer, reference=reference)

    def test_gives_the_money_back_on_proof(self):
        self.deposit(1000)
        lost = self.execute(self.due_withdrawal(400), Does.LOSE)
        for _ in range(2):
            self.assertEqual(self.refund(lost).status, Status.FAILED)
        self.assert_money(self.alice, balance=1000)

    def test_refuses_without_proof(self):
        self.deposit(1000)
        lost = self.execute(self.due_withdrawal(400), Does.PAY_SILENTLY)
        for outcome in (Outcome.UNKNOWN, Outcome.NOT_FOUND, Outcome.ACCEPTED):
            with self.subTest(outcome), self.assertRaises(UnknownIsNotFailed):
                self.refund(lost, Answer(outcome))
        self.assert_money(self.alice, balance=600, held=400)

    def test_refuses_the_proof_of_an_earlier_attempt(self):
        """The first attempt was refused; the second one may have been paid."""
        self.deposit(1000)
        withdrawal = self.execute(self.due_withdrawal(400), Does.REFUSE)
        first = withdrawal.attempts.get().reference
        self.execute(withdrawal, Does.PAY_SILENTLY, at=3600)
        with self.assertRaises(UnknownIsNotFailed):
            WithdrawalService.refund(withdrawal.pk, self.refused, reference=first)
        self.assert_money(self.alice, balance=600, held=400)

    def test_refuses_what_was_paid(self):
        self.deposit(1000)
        done = self.execute(self.due_withdrawal(400))
        with self.assertRaises(IllegalTransition):
            self.refund(done)

    def test_refuses_what_was_never_sent(self):
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.refund(
                self.due_withdrawal(1).pk, self.refused, reference=uuid.uuid4()
            )


class ScheduleIdempotencyTest(WithdrawalTestCase):
    key = uuid.UUID("550e8400-e29b-41d4-a716-446655440001")

    def schedule(self, at=60, amount=400, now=0):
        return WithdrawalService.schedule(
            self.alice.uuid, amount, self.after(at), self.key, now=self.after(now)
        )

    def test_gives_the_first_withdrawal_again_after_the_time_has_passed(self):
        self.deposit(1000)
        first = self.schedule()
        self.execute(first, at=60)
        again = self.schedule(now=120)

        self.assertEqual((again.pk, again.status), (first.pk, Status.COMPLETED))
        self.assertEqual(again, Transaction.objects.get(pk=first.pk))
        self.assertEqual(Transaction.objects.filter(pk__gt=first.pk).count(), 0)

    def test_refuses_the_key_for_another_time_amount_or_operation(self):
        self.schedule()
        with self.assertRaises(IdempotencyKeyReused):
            self.schedule(at=61)
        with self.assertRaises(IdempotencyKeyReused):
            self.schedule(amount=401)
        with self.assertRaises(IdempotencyKeyReused):
            WalletService.deposit(self.alice.uuid, 400, self.key)

"""Claim, call and record: each alone, late, repeated, and in the wrong order."""

from __future__ import annotations

import uuid
from datetime import timedelta
from unittest import mock

from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from wallets.errors import InsideTransaction
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.ledger import Movement
from wallets.models.states import Event
from wallets.models.transaction import Transaction
from wallets.services.payouts import outcome, payout, resolver
from wallets.services.payouts.payout import Claim, Sending
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests import builders
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import LOOKS_UP_ONLY, Does, FakeBank, InThisThread
from wallets.utils import clock
from wallets.utils.bank.interface import Answer, Outcome, Payment

PAID = Answer(Outcome.ACCEPTED, "paid", 200)
REFUSED = Answer(Outcome.REJECTED, "refused", 200)
NOT_SENT = Answer(Outcome.NOT_SENT, "refused connection")
NOTHING = Answer(Outcome.UNKNOWN, "no answer")


class PayoutTestCase(WalletTestCase):
    def claim(self, *withdrawals: Transaction, limit: int = 10) -> Claim:
        rows = Transaction.get_due_pending_withdrawals(self.now)
        if withdrawals:
            rows = rows.filter(pk__in=[each.pk for each in withdrawals])
        return payout.claim(rows, bank=self.bank.abilities, limit=limit, now=self.now)

    def sending(self, amount: int = 100) -> Sending:
        """Return an open attempt whose sender is alive."""
        self.deposit(amount)
        (sending,) = self.claim(self.due_withdrawal(amount)).sendings
        return sending

    def record(self, sending: Sending, answer: Answer, at: float = 0) -> Transaction:
        payout.record([(sending, answer)], now=self.after(at))
        return Transaction.objects.get(pk=sending.attempt.transaction_id)


class ClaimTest(PayoutTestCase):
    def test_commits_attempt_lease_and_hold_before_anything_is_sent(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        (sending,) = self.claim().sendings
        attempt = withdrawal.attempts.get()

        self.assertEqual((attempt.number, attempt.open, attempt.outcome), (1, True, ""))
        self.assertEqual(attempt.started_at, self.now)
        lease = timedelta(seconds=settings.WITHDRAWAL_LEASE)
        self.assertEqual(attempt.lease_expires_at, self.now + lease)
        self.assertEqual(attempt.next_check_at, attempt.lease_expires_at)
        self.assertEqual(sending.payment.reference, attempt.reference)
        self.assertEqual(sending.payment.wallet_uuid, self.alice.uuid)
        self.assertEqual(self.bank.requests, [])
        self.assert_money(self.alice, balance=600, held=400)

    def test_leaves_time_for_the_whole_call_before_the_lease_ends(self):
        before = clock.elapsed()
        sending = self.sending()
        latest = clock.elapsed() + settings.WITHDRAWAL_LEASE
        self.assertGreater(sending.send_before, before)
        self.assertLessEqual(
            sending.send_before + settings.THIRD_PARTY_DEADLINE, latest
        )

    def test_takes_the_earliest_first_and_no_more_than_the_limit(self):
        self.deposit(1000)
        rows = [
            builders.due_withdrawal(self.alice, 10, due=self.after(-n))
            for n in range(5)
        ]
        claim = self.claim(limit=2)
        self.assertEqual(
            [each.attempt.transaction_id for each in claim.sendings],
            [rows[4].pk, rows[3].pk],
        )
        self.assertEqual(Transaction.get_due_pending_withdrawals(self.now).count(), 3)

    def test_takes_nothing_twice(self):
        self.deposit(1000)
        self.due_withdrawal(400)
        self.assertEqual(len(self.claim()), 1)
        self.assertEqual(len(self.claim()), 0)
        self.assertEqual(Attempt.objects.count(), 1)

    def test_takes_nothing_early(self):
        self.deposit(1000)
        builders.due_withdrawal(self.alice, 10, due=self.after(0.000001))
        self.assertEqual(len(self.claim()), 0)

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_takes_nothing_while_paused(self):
        self.deposit(1000)
        self.due_withdrawal(400)
        self.assertEqual(len(self.claim()), 0)

    def test_spends_one_wallets_money_once_within_a_batch(self):
        """250 for 100 + 200 + 100 + 100 + 40, in the order of the scheduled times."""
        self.deposit(250)
        rows = [self.due_withdrawal(amount) for amount in (100, 200, 100, 100, 40)]
        claim = self.claim()
        taken = {each.attempt.transaction_id for each in claim.sendings}
        self.assertEqual([row.pk in taken for row in rows], [1, 0, 1, 0, 1])
        self.assertEqual(len(claim.refused), 2)
        self.assert_money(self.alice, balance=10, held=240)

    def test_keeps_wallets_apart_within_a_batch(self):
        self.deposit(100)
        self.deposit(100, self.bob)
        for wallet in (self.alice, self.bob, self.alice):
            self.due_withdrawal(100, wallet)
        claim = self.claim()
        self.assertEqual((len(claim.sendings), len(claim.refused)), (2, 1))
        self.assert_money(self.alice, balance=0, held=100)
        self.assert_money(self.bob, balance=0, held=100)

    def test_numbers_the_statement_without_gaps(self):
        self.deposit(1000)
        for _ in range(5):
            self.due_withdrawal(100)
        self.claim()
        numbers = Movement.objects.filter(wallet=self.alice).values_list(
            "sequence", flat=True
        )
        self.assertEqual(sorted(numbers), [1, 2, 3, 4, 5, 6])

    def test_reads_and_inserts_once_for_a_whole_batch(self):
        """Only the guarded UPDATEs of withdrawals and wallets are one for each row."""
        counts = {}
        for size in (1, 11):
            for _ in range(size):
                self.due_withdrawal(10, builders.wallet_with(10))
            with CaptureQueriesContext(connection) as queries:
                self.assertEqual(len(self.claim(limit=size).sendings), size)
            counts[size] = len(queries)
        self.assertLessEqual(counts[11] - counts[1], 2 * 10, counts)


class ReferenceTest(PayoutTestCase):
    def reference(self, withdrawal: Transaction, number: int = 1) -> uuid.UUID:
        return reference_of(withdrawal, withdrawal.wallet.uuid, number)

    def test_is_the_same_whenever_it_is_derived(self):
        withdrawal = self.due_withdrawal(1)
        first = self.reference(withdrawal)
        again = Transaction.objects.select_related("wallet").get(pk=withdrawal.pk)
        self.assertEqual(self.reference(again), first)

    def test_follows_from_what_the_client_holds(self):
        """Whatever else a restored ledger has lost and creates again."""
        withdrawal = self.due_withdrawal(1)
        again = Transaction(
            pk=withdrawal.pk + 1,
            wallet=self.alice,
            amount=2,
            idempotency_key=withdrawal.idempotency_key,
            created_at=self.after(3600),
        )
        self.assertEqual(self.reference(again), self.reference(withdrawal))

    def test_differs_for_each_attempt_withdrawal_and_wallet(self):
        withdrawal = self.due_withdrawal(1)
        references = {
            self.reference(withdrawal),
            self.reference(withdrawal, 2),
            self.reference(self.due_withdrawal(1)),
            # A new withdrawal with the id of a lost one, after a restored backup.
            self.reference(Transaction(pk=withdrawal.pk, wallet=self.alice)),
            # The same key with a wallet of another system.
            reference_of(withdrawal, uuid.uuid4(), 1),
        }
        self.assertEqual(len(references), 5)

    def test_of_an_attempt_stays_as_it_was_stored(self):
        """An earlier release derived it differently: look-ups use the stored one."""
        self.bank = FakeBank(LOOKS_UP_ONLY, (Does.PAY_SILENTLY,))
        withdrawal = self.due_withdrawal(100)
        self.deposit(100)
        self.claim(withdrawal)
        stored = uuid.uuid4()
        withdrawal.attempts.update(reference=stored)
        self.bank.pay(Payment(stored, self.alice.uuid, 100))
        with mock.patch.object(resolver, "ThreadPoolExecutor", InThisThread):
            resolver.resolve_due(bank=self.bank, limit=1, now=self.after(3600))
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, "COMPLETED")


class CallTest(PayoutTestCase):
    def test_is_made_in_no_transaction(self):
        self.deposit(100)
        withdrawal = self.due_withdrawal(100)
        (sending,) = self.claim(withdrawal).sendings
        with self.assertRaises(InsideTransaction), transaction.atomic():
            self.bank.pay(sending.payment)

    def test_is_not_made_by_a_sender_that_comes_too_late(self):
        sending = self.sending()
        answer = self.bank.pay(sending.payment, send_before=clock.elapsed())
        done = self.record(sending, answer)
        self.assertEqual(self.bank.requests, [])
        self.assertEqual(
            (done.status, done.failure_code), ("FAILED", "bank_unreachable")
        )


class RecordTest(PayoutTestCase):
    def test_settles_what_was_paid(self):
        sending = self.sending()
        done = self.record(sending, PAID, at=3)
        self.assertEqual((done.status, done.failure_code), ("COMPLETED", ""))
        self.assertEqual(done.executed_at, self.now)
        self.assertEqual(done.attempts.get().answer, "paid")
        attempt = done.attempts.get()
        self.assertEqual((attempt.outcome, attempt.open), ("accepted", None))
        self.assertEqual((attempt.closed_at, attempt.http_status), (self.after(3), 200))
        self.assert_money(self.alice, balance=0)

    def test_releases_what_was_refused_or_not_sent(self):
        for answer, code in (
            (REFUSED, "rejected_by_bank"),
            (NOT_SENT, "bank_unreachable"),
        ):
            with self.subTest(code):
                done = self.record(self.sending(), answer)
                self.assertEqual((done.status, done.failure_code), ("FAILED", code))
                self.assertFalse(done.final)
        self.assert_money(self.alice, balance=200)

    def test_holds_what_is_unknown(self):
        done = self.record(self.sending(), NOTHING, at=5)
        self.assertEqual(
            (done.status, done.unknown_since), ("PROCESSING", self.after(5))
        )
        self.assertGreater(done.attempts.get().next_check_at, self.after(5))
        self.assert_money(self.alice, balance=0, held=100)

    def test_takes_a_not_found_from_a_sender_for_no_proof(self):
        done = self.record(self.sending(), Answer(Outcome.NOT_FOUND, "eh?", 404))
        self.assertEqual(done.status, "PROCESSING")

    def test_is_done_once_however_often_it_is_asked(self):
        for answer in (PAID, REFUSED, NOT_SENT, NOTHING):
            with self.subTest(answer.outcome):
                sending = self.sending()
                first = self.record(sending, answer)
                again = self.record(sending, answer, at=9)
                self.assertEqual(again.version, first.version)
                self.assertEqual(first.alarms.count(), 0)

    def test_takes_many_answers_at_once(self):
        sendings = [self.sending() for _ in range(4)]
        answers = [PAID, REFUSED, NOT_SENT, NOTHING]
        payout.record(list(zip(sendings, answers, strict=True)), now=self.now)
        self.assertEqual(
            list(
                Transaction.objects.order_by("pk")
                .exclude(transaction_type="DEPOSIT")
                .values_list("status", flat=True)
            ),
            ["COMPLETED", "FAILED", "FAILED", "PROCESSING"],
        )
        self.assert_money(self.alice, balance=200, held=100)

    def test_takes_no_answers(self):
        with self.assertNumQueries(0):
            payout.record([])

    def test_gives_money_back_to_a_wallet_at_its_cap(self):
        self.deposit(10**15)
        sending = self.claim(self.due_withdrawal(10**15)).sendings[0]
        self.record(sending, REFUSED)
        self.assert_money(self.alice, balance=10**15)


class LateAnswerTest(PayoutTestCase):
    """A late answer changes nothing; a contradiction raises an alarm."""

    def ended(self, answer: Answer) -> tuple[Sending, Transaction]:
        sending = self.sending()
        return sending, self.record(sending, answer)

    def test_that_says_paid_after_the_release_raises_an_alarm(self):
        for ending in (REFUSED, NOT_SENT):
            sending, before = self.ended(ending)
            with self.subTest(ending.outcome):
                after = self.record(sending, PAID, at=100)
                alarm = after.alarms.get()
                self.assertEqual(alarm.kind, Alarm.Kind.PAID_AFTER_RELEASE)
                self.assertEqual((alarm.attempt_number, alarm.detail), (1, "paid"))
                self.assertEqual(
                    (after.status, after.version), (before.status, before.version)
                )
                self.record(sending, PAID, at=101)
                self.assertEqual(after.alarms.count(), 1)
        self.assert_money(self.alice, balance=200)

    def test_that_says_paid_during_the_next_attempt_concerns_only_its_own(self):
        sending, failed = self.ended(REFUSED)
        rows = Transaction.objects.filter(pk=failed.pk)
        payout.claim(rows, bank=self.bank.abilities, limit=1, now=self.after(3600))
        after = self.record(sending, PAID, at=3601)
        self.assertEqual(after.status, "PROCESSING")
        self.assertEqual(after.alarms.get().attempt_number, 1)
        self.assertEqual(after.attempts.get(number=2).outcome, "")
        self.assert_money(self.alice, balance=0, held=100)

    def test_that_says_refused_after_the_payment_raises_an_alarm(self):
        sending, _ = self.ended(PAID)
        after = self.record(sending, REFUSED, at=100)
        self.assertEqual(after.alarms.get().kind, Alarm.Kind.CONTRADICTION)
        self.assertEqual(after.status, "COMPLETED")

    def test_that_says_nothing_new_raises_none(self):
        for ending, late in (
            (PAID, PAID),
            (PAID, NOTHING),
            (REFUSED, NOTHING),
            (REFUSED, NOT_SENT),
            (PAID, NOT_SENT),
        ):
            sending, _ = self.ended(ending)
            with self.subTest(ending.outcome, late=late.outcome):
                self.assertEqual(self.record(sending, late, at=9).alarms.count(), 0)


class SecondSenderTest(PayoutTestCase):
    """Two senders used one reference, so only a payment is proof.

    A bank may refuse the second request *because* it pays the first.
    """

    def test_only_a_payment_is_proof(self):
        attempt = Attempt(sends=2)
        got = {o: outcome.event_of(Answer(o), attempt) for o in Outcome}
        expected = dict.fromkeys(Outcome, Event.UNKNOWN)
        self.assertEqual(got, expected | {Outcome.ACCEPTED: Event.ACCEPTED})

    def test_the_answer_to_a_single_sender_is_proof(self):
        attempt = Attempt(sends=1)
        expected = {
            Outcome.ACCEPTED: Event.ACCEPTED,
            Outcome.REJECTED: Event.REJECTED,
            Outcome.NOT_SENT: Event.NOT_SENT,
            Outcome.NOT_FOUND: Event.UNKNOWN,
            Outcome.UNKNOWN: Event.UNKNOWN,
        }
        got = {o: outcome.event_of(Answer(o), attempt) for o in Outcome}
        self.assertEqual(got, expected)


class RetryTest(PayoutTestCase):
    def test_has_a_reference_hold_and_attempt_of_its_own(self):
        failed = self.record(self.sending(), REFUSED)
        rows = Transaction.objects.filter(pk=failed.pk)
        (second,) = payout.claim(
            rows, bank=self.bank.abilities, limit=1, now=self.after(3600)
        ).sendings
        self.assertEqual(second.attempt.number, 2)
        first = failed.attempts.get(number=1)
        self.assertNotEqual(second.payment.reference, first.reference)
        kinds = failed.movements.order_by("pk").values_list("attempt_number", "kind")
        self.assertEqual(list(kinds), [(1, "hold"), (1, "release"), (2, "hold")])
        failed.refresh_from_db()
        self.assertEqual((failed.retry_count, failed.failure_code), (1, ""))

    def test_is_tried_three_times_whatever_the_failures_were(self):
        self.deposit(100)
        withdrawal = self.due_withdrawal(100)
        for number, answer in enumerate((REFUSED, NOT_SENT, NOT_SENT, REFUSED)):
            rows = Transaction.objects.filter(pk=withdrawal.pk)
            at = 10_000 * number
            (sending,) = payout.claim(
                rows, bank=self.bank.abilities, limit=1, now=self.after(at)
            ).sendings
            done = self.record(sending, answer, at=at)
        self.assertEqual((done.final, done.retry_count), (True, 3))
        self.assertEqual(done.attempts.count(), 4)

    @override_settings(WITHDRAWAL_MAX_RETRIES=0)
    def test_can_be_switched_off(self):
        done = self.record(self.sending(), REFUSED)
        self.assertTrue(done.final)

    def test_waits_with_jitter_and_a_cap(self):
        from wallets.services.payouts import backoff

        for made, base in ((0, 30), (1, 60), (2, 120), (20, 3600), (10**6, 3600)):
            waits = {backoff.retry_delay(made).total_seconds() for _ in range(50)}
            with self.subTest(made):
                self.assertGreater(len(waits), 10, "no jitter: all retry at once")
                self.assertGreaterEqual(min(waits), base * 0.8)
                self.assertLessEqual(max(waits), base * 1.2)


class ExecuteTest(PayoutTestCase):
    def test_does_not_find_what_another_process_has_claimed(self):
        sending = self.sending()
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(
                sending.attempt.transaction_id, bank=self.bank, now=self.after(9999)
            )
        self.assertEqual(self.bank.requests, [])

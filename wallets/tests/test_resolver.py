"""Unknown is not failed: the resolver's look-ups, and what they prove when."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test import override_settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.payouts import belief, moment, payout, resolver, take, waits
from wallets.services.payouts.payout import Sending
from wallets.tests import marks
from wallets.tests.fakes import (
    ABLE,
    BARE,
    DEDUPES_ONLY,
    LOOKS_UP_ONLY,
    Does,
)
from wallets.tests.unknowns import (
    LEASE,
    NOT_FOUND,
    PAID,
    QUIET,
    REFUSED,
    TROUBLE,
    ResolverTestCase,
)
from wallets.utils import clock
from wallets.utils.bank.interface import Abilities, Answer, Outcome


class LookUpTest(ResolverTestCase):
    def test_settles_what_was_paid(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.resolve(LEASE)
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(withdrawal.executed_at, self.now)
        self.assertEqual(len(self.bank.paid), 1)
        self.assert_money(self.alice, balance=900)

    def test_releases_at_once_what_was_refused(self):
        withdrawal = self.unknown()
        self.resolve(LEASE, REFUSED)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)
        self.assert_money(self.alice, balance=1000)

    def test_does_not_believe_not_found_before_the_quiet_period_is_over(self):
        withdrawal = self.unknown()
        self.sweep_until(QUIET - 1)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 0)
        self.assertGreater(withdrawal.attempts.get().checks, 3)
        self.assert_held()

    def test_does_not_believe_not_found_once(self):
        withdrawal = self.unknown()
        self.resolve(QUIET)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 1)
        self.assert_held()

    def test_believes_not_found_twice_after_the_quiet_period(self):
        withdrawal = self.unknown()
        self.resolve(QUIET)
        self.resolve(QUIET + 60)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)
        self.assertEqual(withdrawal.failure_code, "not_found_at_bank")
        self.assertEqual(withdrawal.attempts.get().outcome, "not_found")
        self.assert_money(self.alice, balance=1000)

    def test_pays_once_what_the_bank_booked_late(self):
        """A look-up says "not found", and 0.8 s later the payment is booked."""
        withdrawal = self.unknown(Does.BOOK_LATE)
        self.resolve(LEASE)
        self.resolve(QUIET - 1)
        self.bank.book()
        self.sweep_until(2 * QUIET)
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(len(self.bank.paid), 1)

    def test_starts_to_count_again_after_any_other_answer(self):
        """The answers are "not found", an error, and "not found" again."""
        withdrawal = self.unknown()
        at = QUIET
        for answer in (NOT_FOUND, TROUBLE, NOT_FOUND, TROUBLE, NOT_FOUND):
            self.assertEqual(self.resolve(at, answer), 1)
            self.assert_state(withdrawal, State.UNKNOWN)
            at += 600
        self.assert_held()
        self.resolve(at, NOT_FOUND)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_believes_found_after_not_found(self):
        withdrawal = self.unknown()
        self.resolve(QUIET, NOT_FOUND)
        self.resolve(QUIET + 60, PAID)
        self.assert_state(withdrawal, State.COMPLETED)

    def test_does_not_count_an_answer_that_was_asked_for_before_the_quiet_period(self):
        """The resolver is frozen between asking and recording."""
        withdrawal = self.unknown()
        self.resolve_frozen_until(QUIET + 60, at=LEASE)
        self.assertEqual(withdrawal.attempts.get().checks, 1)
        self.assertEqual(withdrawal.attempts.get().not_found_count, 0)

    def test_waits_longer_each_time_and_never_gives_up(self):
        withdrawal = self.unknown()
        at, waits = LEASE, []
        for _ in range(14):
            self.resolve(at, TROUBLE)
            attempt = withdrawal.attempts.get()
            next_at = (attempt.next_check_at - self.now).total_seconds()
            waits.append(next_at - at)
            at = next_at
        cap = settings.WITHDRAWAL_CHECK_CAP
        self.assertLess(waits[0], 10)
        self.assertGreater(waits[-1], cap * 0.7)
        self.assertLessEqual(max(waits), cap * 1.3)
        self.assert_held()

    def test_calls_an_operator_after_an_hour_and_goes_on_looking(self):
        withdrawal = self.unknown()
        patience = settings.WITHDRAWAL_REVIEW_AFTER
        self.resolve(LEASE, TROUBLE)
        self.resolve(patience - 1, TROUBLE)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.resolve(patience + 1000, TROUBLE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.NEEDS_REVIEW)
        self.resolve(patience + 5000, PAID)
        self.assert_state(withdrawal, State.COMPLETED)

    def test_never_releases_by_itself_what_an_operator_looks_at(self):
        withdrawal = self.unknown()
        self.resolve(settings.WITHDRAWAL_REVIEW_AFTER + 1, TROUBLE)
        for hours in range(1, 5):
            at = settings.WITHDRAWAL_REVIEW_AFTER + 3600 * hours
            self.resolve(at, NOT_FOUND if hours % 2 else REFUSED)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(withdrawal.alarms.count(), 1)
        self.assert_held()

    def test_counts_look_ups_not_as_retries(self):
        withdrawal = self.unknown()
        self.sweep_until(QUIET - 1)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.retry_count, 0)


class QuietPeriodTest(ResolverTestCase):
    def test_covers_lease_longest_call_and_booking_time(self):
        self.assertEqual(belief.quiet_period(Abilities(looks_up=True)), QUIET)
        slow = Abilities(looks_up=True, booking_time=86400)
        longest = LEASE + settings.THIRD_PARTY_DEADLINE
        self.assertEqual(belief.quiet_period(slow), 86400 + longest)
        with override_settings(WITHDRAWAL_QUIET_PERIOD=1):
            self.assertEqual(belief.quiet_period(Abilities(looks_up=True)), longest)

    def test_begins_with_the_last_send(self):
        attempt = Attempt(
            started_at=self.now,
            last_sent_at=self.after(500),
            waits=waits.begun(clock=clock.machine(), elapsed=500, shown=0.0),
        )
        for passed, left in ((0, QUIET), (QUIET - 1, 1), (QUIET, 0), (QUIET + 1, 0)):
            shown = moment.read(self.after(500 + passed), 500 + passed)
            with self.subTest(passed=passed):
                self.assertEqual(belief.until_quiet(attempt, Abilities(), shown), left)


class LeaseTest(ResolverTestCase):
    def test_protects_a_sender_that_is_at_work(self):
        withdrawal, _ = self.crashed()
        self.assertEqual(self.resolve(LEASE - 1), 0)
        self.assert_state(withdrawal, State.SENDING)

    def test_ends_in_unknown(self):
        withdrawal, _ = self.crashed()
        self.assertEqual(self.resolve(LEASE), 1)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.assertEqual(withdrawal.unknown_since, self.after(LEASE))
        row = withdrawal.transitions.get(event="unknown")
        self.assertEqual(row.evidence, take.LEASE_EXPIRED)
        self.assert_held()

    def test_is_recovered_whether_the_bank_was_reached_or_not(self):
        """Killed before the call: not found. Killed after it: found. Each paid once."""
        never, _ = self.crashed()
        paid, sending = self.crashed()
        self.bank.pay(sending.payment)
        self.sweep_until(2 * QUIET, step=10)
        self.assert_state(never, State.FAILED_RETRYABLE)
        self.assert_state(paid, State.COMPLETED)
        self.assertEqual(len(self.bank.paid), 1)
        self.assert_money(self.alice, balance=900)


class ZombieTest(ResolverTestCase):
    """A sender that was frozen and continues after others have gone on."""

    def test_sends_nothing_after_its_lease(self):
        _, sending = self.crashed()
        self.sweep_until(2 * QUIET, step=10)
        with mock.patch.object(clock, "elapsed", return_value=sending.send_before):
            answer = self.bank.pay(sending.payment, send_before=sending.send_before)
        self.assertEqual(answer.outcome, Outcome.NOT_SENT)
        payout.record([(sending, answer)], now=self.after(3 * QUIET))
        self.assertEqual(self.bank.requests, [])
        self.assertEqual(Alarm.objects.count(), 0)

    def test_is_believed_while_the_outcome_is_unknown(self):
        for answer, state in (
            (PAID, State.COMPLETED),
            (REFUSED, State.FAILED_RETRYABLE),
            (Answer(Outcome.NOT_SENT), State.FAILED_RETRYABLE),
        ):
            withdrawal, sending = self.crashed()
            self.resolve(LEASE)
            payout.record([(sending, answer)], now=self.after(LEASE + 1))
            with self.subTest(answer.outcome):
                self.assert_state(withdrawal, state)

    def test_loses_against_a_look_up_that_was_faster(self):
        withdrawal, sending = self.crashed()
        self.bank.pay(sending.payment)
        self.resolve(LEASE)
        payout.record([(sending, PAID)], now=self.after(LEASE + 1))
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(withdrawal.movements.filter(kind="settle").count(), 1)
        self.assertEqual(withdrawal.alarms.count(), 0)

    def test_raises_an_alarm_when_its_payment_was_released(self):
        withdrawal, sending = self.crashed()
        self.resolve(QUIET, NOT_FOUND)
        self.resolve(QUIET + 60, NOT_FOUND)
        payout.record([(sending, PAID)], now=self.after(QUIET + 61))
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.PAID_AFTER_RELEASE)
        self.assert_money(self.alice, balance=1000)


class TwoResolversTest(ResolverTestCase):
    def test_take_each_attempt_once(self):
        self.unknown()
        asked = []
        look_up = self.bank.look_up

        def look_up_and_sweep(payment):
            asked.append(payment)
            if len(asked) == 1:
                self.assertEqual(self.resolve(LEASE + 1), 0, "taken by both")
            return look_up(payment)

        with mock.patch.object(self.bank, "look_up", look_up_and_sweep):
            self.resolve(LEASE)
        self.assertEqual(len(asked), 1)

    def test_do_not_record_an_answer_that_a_later_one_has_overtaken(self):
        """The first one is frozen in its call; the second one looks up later."""
        withdrawal = self.unknown()
        overtaken = self.during_look_up(
            QUIET, NOT_FOUND, lambda: self.resolve(QUIET + LEASE, TROUBLE)
        )
        self.assertTrue(overtaken)
        attempt = withdrawal.attempts.get()
        self.assertEqual((attempt.checks, attempt.not_found_count), (2, 0))
        self.assertEqual(attempt.answer, TROUBLE.reason)

    def test_do_not_both_end_an_attempt(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.during_look_up(LEASE, PAID, lambda: self.resolve(2 * LEASE, PAID))
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(withdrawal.movements.filter(kind="settle").count(), 1)

    def test_raise_an_alarm_after_contradicting_answers(self):
        withdrawal = self.unknown()
        self.during_look_up(LEASE, PAID, lambda: self.resolve(2 * LEASE, REFUSED))
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.PAID_AFTER_RELEASE)

    def during_look_up(
        self, at: float, answer: Answer, other: Callable[[], object]
    ) -> bool:
        """Sweep; something else happens before its look-up gets this answer."""
        look_up = self.bank.look_up
        happened = []

        def interrupted(payment):
            if happened:
                return look_up(payment)
            happened.append(True)
            other()
            return answer

        with mock.patch.object(self.bank, "look_up", interrupted):
            self.resolve(at)
        return bool(happened)


class ResendTest(ResolverTestCase):
    abilities = DEDUPES_ONLY

    def test_sends_the_same_reference_again(self):
        for does in (Does.LOSE, Does.PAY_SILENTLY):
            withdrawal = self.unknown(does)
            with self.subTest(does):
                self.resolve(LEASE)
                self.assert_state(withdrawal, State.COMPLETED)
                self.assertEqual(withdrawal.attempts.get().sends, 2)
                self.assertEqual(withdrawal.retry_count, 0)
        first, again, *_ = self.bank.requests
        self.assertEqual(first, again)
        self.assertEqual(len(self.bank.paid), 2)
        self.assert_money(self.alice, balance=800)

    def test_has_a_lease_of_its_own(self):
        withdrawal = self.unknown()
        self.bank.script.append(Does.LOSE)
        seen: list[Attempt] = []
        self.bank.on_the_way = lambda payment: seen.append(
            Attempt.objects.select_related("transaction").get()
        )
        self.resolve(LEASE)
        (attempt,) = seen
        self.assertEqual(attempt.last_sent_at, self.after(LEASE))
        self.assertEqual(attempt.lease_expires_at, self.after(2 * LEASE))
        self.assertIs(attempt.transaction.state, State.SENDING)
        self.assert_state(withdrawal, State.UNKNOWN)

    def test_does_not_release_on_a_refusal(self):
        """The bank still processes the first request, and pays it later."""
        withdrawal = self.unknown(Does.BOOK_LATE)
        self.bank.script.append(Does.REFUSE)
        self.resolve(LEASE)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.bank.book()
        self.sweep_until(3600, step=60)
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(len(self.bank.paid), 1)
        self.assertEqual(Alarm.objects.count(), 0)

    def test_does_not_release_when_it_could_not_be_sent(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.bank.script.append(Does.UNREACHABLE)
        self.resolve(LEASE)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.assert_held()

    @marks.slow
    def test_calls_an_operator_when_the_bank_stays_silent_for_an_hour(self):
        withdrawal = self.unknown()
        self.bank.script.extend([Does.LOSE] * 100)
        patience = settings.WITHDRAWAL_REVIEW_AFTER
        self.sweep_until(patience - 10, step=60)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.sweep_until(patience + 1000, step=100)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.NEEDS_REVIEW)
        self.assertLess(len(self.bank.requests), 15)
        self.assert_held()

    def test_is_made_once_however_long_nothing_swept(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.resolve(10 * settings.WITHDRAWAL_REVIEW_AFTER)
        self.assert_state(withdrawal, State.COMPLETED)
        self.assertEqual(len(self.bank.paid), 1)

    def test_ends_with_the_banks_memory(self):
        """When the bank has forgotten the reference, the same request pays again."""
        window = settings.WITHDRAWAL_REVIEW_AFTER - 600
        self.bank._abilities = Abilities(dedupes=True, dedupe_window=window)
        withdrawal = self.unknown()
        self.bank.script.extend([Does.LOSE] * 3)
        self.resolve(LEASE)
        self.resolve(window - LEASE - 1)
        self.assertEqual(len(self.bank.requests), 3)
        self.resolve(window)
        self.assertEqual(len(self.bank.requests), 3)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.NEEDS_REVIEW)
        self.assert_held()

    def test_is_not_made_while_an_operator_looks_at_it(self):
        """The settings were changed: the bank had a look-up, and now only dedupes."""
        withdrawal = self.unknown()
        self.bank._abilities = LOOKS_UP_ONLY
        self.resolve(settings.WITHDRAWAL_REVIEW_AFTER + 1, TROUBLE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.bank._abilities = DEDUPES_ONLY
        before = len(self.bank.requests)
        for hours in (2, 3, 4):
            self.resolve(3600 * hours)
        self.assertEqual(len(self.bank.requests), before)
        self.assertEqual(withdrawal.attempts.get().sends, 1)

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_is_not_made_while_paused(self):
        with override_settings(WITHDRAWALS_PAUSED=False):
            withdrawal = self.unknown()
        self.resolve(LEASE)
        self.assertEqual(len(self.bank.requests), 1)
        self.assert_state(withdrawal, State.UNKNOWN)

    def test_zombie_of_the_first_send_changes_nothing_but_by_a_payment(self):
        for answer, state in (
            (REFUSED, State.SENDING),
            (Answer(Outcome.NOT_SENT), State.SENDING),
            (TROUBLE, State.SENDING),
            (PAID, State.COMPLETED),
        ):
            withdrawal, zombie = self.crashed()
            with self.subTest(answer.outcome):
                met = self.meet_on_the_way(withdrawal, zombie, answer)
                self.assertIs(met, state)
                self.assert_state(withdrawal, State.COMPLETED)
                self.assertEqual(withdrawal.alarms.count(), 0)

    def meet_on_the_way(
        self, withdrawal: Transaction, zombie: Sending, answer: Answer
    ) -> State:
        """Record the first sender's answer while the second sender sends."""
        met = []

        def meet(payment: object) -> None:
            payout.record([(zombie, answer)], now=self.after(LEASE + 1))
            met.append(Transaction.objects.get(pk=withdrawal.pk).state)

        self.bank.on_the_way = meet
        self.resolve(LEASE)
        self.bank.on_the_way = lambda payment: None
        return met[0]


class BareBankTest(ResolverTestCase):
    """The specification's bank: no look-up, no dedupe."""

    abilities = BARE

    @marks.slow
    def test_waits_for_an_operator_with_the_money_held(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        self.resolve(LEASE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(withdrawal.status, "PROCESSING")
        self.assertEqual(withdrawal.alarms.get().kind, Alarm.Kind.NEEDS_REVIEW)
        self.sweep_until(5 * 86400, step=3600)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assertEqual(len(self.bank.requests), 1)
        self.assertEqual(len(self.bank.paid), 1)
        self.assertEqual(withdrawal.alarms.count(), 1)
        self.assert_held()

    def test_is_not_called(self):
        self.unknown()
        with mock.patch.object(self.bank, "look_up") as look_up:
            self.resolve(LEASE)
        look_up.assert_not_called()

    def test_accepts_a_late_answer_of_its_sender(self):
        withdrawal, sending = self.crashed()
        self.resolve(LEASE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        payout.record([(sending, PAID)], now=self.after(LEASE + 1))
        self.assert_state(withdrawal, State.COMPLETED)
        # No review is needed any more.
        self.assertEqual(withdrawal.alarms.get().acknowledged_at, self.after(LEASE + 1))


class InReviewTest(ResolverTestCase):
    """An attempt in review, at a bank with a look-up…"""

    def in_review(self) -> Transaction:
        withdrawal = self.unknown()
        after = settings.WITHDRAWAL_REVIEW_AFTER
        self.resolve(after, TROUBLE)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        return withdrawal

    def test_is_asked_about_ever_more_rarely(self):
        withdrawal = self.in_review()
        attempt = withdrawal.attempts.get()
        at, waits_of = settings.WITHDRAWAL_REVIEW_AFTER, []
        for _ in range(20):
            at = (attempt.next_check_at - self.now).total_seconds()
            self.assertEqual(self.resolve(at, NOT_FOUND), 1)
            attempt.refresh_from_db()
            waits_of.append((attempt.next_check_at - self.after(at)).total_seconds())
        self.assertEqual(attempt.not_found_count, 0)
        least = settings.WITHDRAWAL_CHECK_CAP * (1 - settings.WITHDRAWAL_RETRY_JITTER)
        self.assertGreaterEqual(min(waits_of[-8:]), least)
        self.assert_state(withdrawal, State.NEEDS_REVIEW)

    def test_is_paid_when_the_look_up_finds_it(self):
        withdrawal = self.in_review()
        self.resolve(settings.WITHDRAWAL_REVIEW_AFTER + 3600, PAID)
        self.assert_state(withdrawal, State.COMPLETED)


class SeveralRequestsTest(ResolverTestCase):
    """One reference was sent twice, to a bank that was declared to dedupe…"""

    abilities = DEDUPES_ONLY

    def sent_twice(self) -> Transaction:
        withdrawal = self.unknown()
        self.bank.script.append(Does.LOSE)
        self.resolve(LEASE)
        self.assertEqual(withdrawal.attempts.get().sends, 2)
        return withdrawal

    def test_is_refused_when_a_bank_that_dedupes_looks_it_up(self):
        withdrawal = self.sent_twice()
        self.bank._abilities = ABLE
        self.resolve(3 * LEASE, REFUSED)
        self.assert_state(withdrawal, State.FAILED_RETRYABLE)

    def test_stays_unknown_when_the_bank_dedupes_no_more(self):
        """The refusal may be of one request; the other one may be booked."""
        withdrawal = self.sent_twice()
        self.bank._abilities = LOOKS_UP_ONLY
        self.resolve(3 * LEASE, REFUSED)
        self.assert_state(withdrawal, State.UNKNOWN)
        self.assert_held()


class UnsupportedLookUpTest(ResolverTestCase):
    """A bank with a declared, but missing, look-up: the setting must cost no money."""

    abilities = LOOKS_UP_ONLY

    def test_stays_unknown(self):
        withdrawal = self.unknown(Does.PAY_SILENTLY)
        page = Answer(Outcome.UNKNOWN, "<h1>Not Found</h1>", 404)
        at = LEASE
        while at < settings.WITHDRAWAL_REVIEW_AFTER + 3600:
            self.resolve(at, page)
            at += 300
        self.assert_state(withdrawal, State.NEEDS_REVIEW)
        self.assert_held()


class BatchTest(ResolverTestCase):
    abilities = ABLE

    def test_takes_no_more_than_its_limit_the_longest_waiting_first(self):
        for _ in range(5):
            self.unknown(Does.PAY_SILENTLY)
        took = resolver.resolve_due(bank=self.bank, limit=2, now=self.after(LEASE))
        self.assertEqual(took, 2)
        self.assertEqual(
            Transaction.objects.filter(
                status="COMPLETED", transaction_type="WITHDRAWAL"
            ).count(),
            2,
        )

    def test_is_found_by_its_index(self):
        """Tested on SQLite only: the others' plans depend on the size of the table."""
        if connection.vendor == "sqlite":
            self.assertNotIn("SCAN", take.due(self.now).explain())

    def test_ends_each_by_its_own_answer(self):
        rows = [self.unknown(does) for does in (Does.PAY_SILENTLY, Does.LOSE)]
        self.resolve(QUIET)
        self.resolve(QUIET + 60)
        states = [Transaction.objects.get(pk=row.pk).state for row in rows]
        self.assertEqual(states, [State.COMPLETED, State.FAILED_RETRYABLE])
        self.assertEqual(self.resolve(QUIET + 120), 0)

    def test_finds_nothing_to_do(self):
        self.assertEqual(self.resolve(10**6), 0)

"""The comparison of the ledger with the bank's list of payments."""

import copy
import uuid
from io import StringIO
from unittest import mock, skipUnless

from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from wallets import tasks
from wallets.errors import InvalidInput
from wallets.management import arguments
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.heartbeat import Heartbeat
from wallets.models.transaction import Transaction
from wallets.services.operations import (
    heartbeat,
    reconciliation,
    reconciliation_alarms,
    reconciliation_daily,
    review,
)
from wallets.services.operations.alarm import acknowledge
from wallets.services.operations.payment_return import record_return
from wallets.services.operations.reconciliation import CLOCKS_DIFFER, Comparison
from wallets.services.payouts import claiming, drain, resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests import builders, marks
from wallets.tests.api import nothing_written
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import ABLE, BARE, DEDUPES_ONLY, Does, FakeBank
from wallets.tests.raw import execute, rules_off, update
from wallets.utils import instants
from wallets.utils.bank.payment_list import StatementLine


class StatementTestCase(WalletTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)

    def pay(self, *does, now=None):
        self.bank.script.extend(does)
        moment = now or self.now
        row = builders.due_withdrawal(self.alice, 100, due=moment)
        return WithdrawalService.execute(row.pk, bank=self.bank, now=moment)

    def compare(self, *more, **period):
        """Compare an hour later, in this period if one is given."""
        lines = [*self.bank.statement(), *more]
        self.comparison = Comparison(lines, self.after(3600), **period)
        self.findings = list(self.comparison.findings())
        return [finding.check for finding in self.findings]

    def alarms(self):
        return list(Alarm.objects.order_by("id").values_list("kind", flat=True))


class BankStatementTest(StatementTestCase):
    def test_finds_nothing_where_both_agree(self):
        self.pay()
        self.pay(Does.REFUSE)
        self.assertEqual(self.compare(), [])
        self.assertEqual(self.alarms(), [])

    def test_finds_nothing_wrong_with_a_payment_that_came_back(self):
        """It was paid: it stays on the bank's list, and COMPLETED."""
        told = {"return_reference": "RET 1", "reason": "closed", "actor": OSCAR}
        record_return(self.pay().pk, 100, **told)
        self.assertEqual(self.compare(), [])
        self.assertEqual(self.alarms(), [])

    def test_finds_what_is_paid_and_not_recorded_yet(self):
        self.pay(Does.PAY_SILENTLY)
        self.assertEqual(self.compare(), ["paid_not_recorded"])
        self.assertEqual(self.alarms(), ["unknown_payment"])

    def test_raises_an_alarm_for_what_is_paid_and_released(self):
        failed = self.pay(Does.REFUSE)
        reference = failed.attempts.get().reference
        line = StatementLine(reference, self.alice.uuid, 100)
        for _ in range(2):
            self.assertEqual(self.compare(line), ["paid_after_release"])
        self.assertEqual(self.alarms(), ["paid_after_release"])
        self.assert_money(self.alice, balance=1000)

    def test_raises_an_alarm_for_what_the_bank_paid_twice(self):
        self.pay()
        self.bank.paid *= 2
        self.assertEqual(self.compare(), ["paid_twice"])
        self.assertEqual(self.alarms(), ["paid_twice"])

    def test_raises_an_alarm_for_a_payment_of_something_else(self):
        reference = self.pay().attempts.get().reference
        self.bank.paid.clear()
        for line in (
            StatementLine(reference, self.alice.uuid, 101),
            StatementLine(reference, self.bob.uuid, 100),
            StatementLine(reference, "alice", 100),
            StatementLine(reference, self.alice.uuid, None),
        ):
            with self.subTest(line):
                self.assertEqual(self.compare(line), ["paid_otherwise"])
        self.assertEqual(self.alarms(), ["paid_otherwise"])

    def test_finds_payments_without_an_attempt(self):
        lines = [
            StatementLine(uuid.uuid4(), self.alice.uuid, 5),
            StatementLine(None, self.alice.uuid, 5),
            StatementLine("INV-2024-17", self.alice.uuid, 5),
            StatementLine("INV-2024-18", "somebody", None),
            StatementLine("x" * 99 + "1", None, None),
            StatementLine("x" * 99 + "2", None, None),
            StatementLine(None, "w" * 100, 10**15, self.now),
        ]
        for _ in range(2):
            self.assertEqual(self.compare(*lines), ["unknown_payment"] * 7)
        self.assertEqual(self.alarms(), ["unknown_payment"] * 7)
        subjects = Alarm.objects.values_list("subject", flat=True)
        self.assertIn("reference INV-2024-17", subjects)
        self.assertIn(f"payment of 5 to {self.alice.uuid}", subjects)

    @mock.patch.object(reconciliation_alarms, "MAX_ALARMS", 3)
    def test_raises_a_bounded_number_of_alarms(self):
        lines = [StatementLine(f"INV-{n}", None, n) for n in range(1, 11)]
        self.assertEqual(self.compare(*lines), ["unknown_payment"] * 10)
        self.assertEqual(self.alarms(), ["unknown_payment"] * 4)
        left = Alarm.objects.first().detail
        self.assertTrue(left.startswith("7 more "), left)
        self.assertIn("at most 3 ", left)


@mock.patch.object(reconciliation_alarms, "MAX_ALARMS", 2)
class FullListTest(StatementTestCase):
    """Where the list has more differences than a comparison raises alarms…"""

    def strangers(self, count=3):
        return [StatementLine(f"INV-{n}", None, n, self.now) for n in range(count)]

    def line_of(self, row, number=1, amount=100):
        reference = reference_of(row, self.alice.uuid, number)
        return StatementLine(reference, self.alice.uuid, amount, self.now)

    def compare_full(self, *lines):
        """Compare strangers' lines, then these; return what is found about these."""
        strangers = self.strangers()
        # No alarm of the first chunk may keep one of a later chunk out.
        with mock.patch.object(reconciliation, "CHUNK", len(strangers)):
            found = self.compare(*strangers, *lines, since=self.after(-60))
        return [check for check in found if check != "unknown_payment"]

    def drain(self, find, seconds=0):
        at = self.after(seconds)
        return drain.Drain(find, bank=self.bank, seconds=1, now=lambda: at).run()

    def test_holds_a_withdrawal_that_waits_to_be_paid(self):
        row = self.due_withdrawal(100)
        for _ in range(2):
            found = self.compare_full(self.line_of(row))
            self.assertEqual(found, ["paid_but_pending"])
        self.assertEqual(row.alarms.get().kind, "unknown_payment")
        self.assertEqual(self.drain(claiming.find_due), 0)
        self.assertEqual(self.bank.requests, [])

    def test_holds_a_withdrawal_whose_earlier_attempt_was_paid(self):
        for amount, kind in ((100, "paid_after_release"), (99, "paid_otherwise")):
            row = self.pay(Does.REFUSE)
            before = len(self.bank.requests)
            self.compare_full(self.line_of(row, amount=amount))
            with self.subTest(kind):
                self.assertTrue(row.alarms.filter(kind=kind).exists())
                self.assertEqual(self.drain(claiming.find_retryable, 3600), 0)
                self.assertEqual(len(self.bank.requests), before)

    def test_says_what_was_paid_twice(self):
        row = self.pay()
        self.assertEqual(self.compare_full(self.line_of(row)), ["paid_twice"])
        self.assertEqual(row.alarms.get().kind, "paid_twice")

    def test_names_every_withdrawal(self):
        rows = [self.due_withdrawal(100) for _ in range(5)]
        self.compare_full(*map(self.line_of, rows))
        self.assertEqual([row.alarms.count() for row in rows], [1] * 5)

    def test_raises_the_next_ones_when_it_is_compared_again(self):
        """An alarm that exists takes nobody's place."""
        lines = self.strangers(6)
        numbers = []
        for _ in range(4):
            self.compare(*lines)
            subjects = Alarm.objects.filter(subject__startswith="reference")
            numbers.append(subjects.count())
        self.assertEqual(numbers, [2, 4, 6, 6])

    def test_misses_the_next_payments_when_it_is_compared_again(self):
        for _ in range(5):
            self.pay()
        self.bank.paid.clear()
        numbers = []
        for _ in range(4):
            self.compare(since=self.after(-60))
            missed = Alarm.objects.filter(transaction__isnull=False)
            numbers.append(missed.count())
        self.assertEqual(numbers, [2, 4, 5, 5])
        left = Alarm.objects.get(transaction=None)
        self.assertEqual(left.kind, "not_on_statement")
        self.assertTrue(left.detail.startswith("3 more "), left.detail)

    def test_counts_a_line_once_that_stands_there_twice(self):
        first, second = self.strangers(2)
        self.compare(first, first, second)
        self.assertEqual(self.alarms(), ["unknown_payment"] * 2)

    def test_leaves_out_strangers_without_a_query_for_each(self):
        numbers = []
        for count in (10, 200):
            with CaptureQueriesContext(connection) as queries:
                self.compare(*self.strangers(count))
            numbers.append(len(queries))
        self.assertLessEqual(numbers[1], numbers[0])


class CoverTest(StatementTestCase):
    """A payment that is not on the list is missing only in the covered time, which…"""

    def missed(self, *more, **period):
        return [
            finding.row
            for finding in (self.compare(*more, **period) and self.findings)
            if finding.check == "not_on_statement"
        ]

    def paid_and_forgotten(self, seconds):
        """Make a payment after these seconds, and remove it from the bank's list."""
        attempt = self.pay(now=self.after(seconds)).attempts.get()
        self.bank.paid.pop()
        return f"attempt {attempt}"

    def test_was_asked_for(self):
        rows = [self.paid_and_forgotten(seconds) for seconds in (0, 100, 200)]
        self.assertEqual(self.missed(since=self.now), rows)
        self.assertEqual(self.alarms(), ["not_on_statement"] * 3)
        self.assertEqual(self.missed(since=self.after(50)), rows[1:])
        self.assertEqual(
            self.missed(since=self.after(50), until=self.after(180)), rows[1:2]
        )

    def test_is_empty_while_the_list_is_empty_and_no_period_is_given(self):
        self.paid_and_forgotten(0)
        self.assertEqual(self.missed(), [])
        self.assertIsNone(self.comparison.covered)
        self.assertEqual(self.alarms(), [])

    def test_begins_with_the_first_of_our_payments_on_the_list(self):
        self.paid_and_forgotten(0)
        self.pay(now=self.after(100))
        row = self.paid_and_forgotten(200)
        self.assertEqual(self.missed(), [row])

    def test_begins_later_by_what_a_booking_may_take(self):
        """A payment that was sent later may be booked before the list begins."""
        self.pay(now=self.now)
        self.paid_and_forgotten(30)
        self.assertEqual(self.missed(), [])

    def test_begins_with_the_first_line_that_has_a_time_where_none_is_ours(self):
        self.paid_and_forgotten(0)
        row = self.paid_and_forgotten(200)
        line = StatementLine("INV-1", None, 1, self.after(100))
        self.assertEqual(self.missed(line), [row])
        self.assertEqual(self.missed(StatementLine("INV-1", None, 1)), [])

    def test_ends_before_what_may_still_be_booked(self):
        self.paid_and_forgotten(3590)
        self.assertEqual(self.missed(since=self.now), [])

    def test_is_not_longer_than_the_requested_period(self):
        lines = [
            StatementLine("early", None, 1, self.after(-1)),
            StatementLine("within", None, 1, self.after(5)),
            StatementLine("late", None, 1, self.after(11)),
        ]
        found = self.compare(*lines, since=self.now, until=self.after(10))
        self.assertEqual(found, ["unknown_payment"])
        self.assertIn("within", self.findings[0].row)

    def test_is_requested_with_a_margin_for_the_banks_clock(self):
        since, until = self.now, self.after(10)
        reconciliation.ask(self.bank, since=since, until=until)
        reconciliation.ask(self.bank)
        self.assertEqual(
            self.bank.asked_for,
            [(since - CLOCKS_DIFFER, until + CLOCKS_DIFFER), (None, None)],
        )


class ForgottenTest(StatementTestCase):
    """After a restored backup: a withdrawal waits, but the bank has already paid it."""

    def line_of(self, row, number, amount=100):
        reference = reference_of(row, self.alice.uuid, number)
        return StatementLine(reference, self.alice.uuid, amount)

    def test_is_named_by_the_reference_that_it_would_get(self):
        pending = self.due_withdrawal(100)
        last = self.due_withdrawal(100)
        failed = self.pay(Does.REFUSE)
        for row, number, status in (
            (pending, 1, "PENDING"),
            (last, 4, "PENDING"),
            (failed, 2, "FAILED"),
        ):
            with self.subTest(status=status, number=number):
                line = self.line_of(row, number)
                self.assertEqual(self.compare(line), ["paid_but_pending"])
                (found,) = self.findings
                self.assertEqual(found.row, f"withdrawal {row.pk}")
                self.assertIn(f"it is {status}", found.detail)
                self.assertIn(f"attempt {number}", found.detail)
                alarm = Alarm.objects.get(transaction=row)
                self.assertEqual(
                    (alarm.kind, alarm.attempt_number), ("unknown_payment", number)
                )
        self.assert_money(self.alice, balance=1000)

    def test_is_named_while_an_earlier_attempt_is_open(self):
        """The backup was taken during attempt 1, which then failed; 2 was paid."""
        row = self.pay(Does.LOSE)
        self.assertEqual(self.compare(self.line_of(row, 2)), ["paid_but_pending"])
        (found,) = self.findings
        self.assertEqual(found.row, f"withdrawal {row.pk}")
        self.assertIn("it is PROCESSING", found.detail)
        alarm = Alarm.objects.get(transaction=row)
        self.assertEqual((alarm.kind, alarm.attempt_number), ("unknown_payment", 2))

    def in_review(self):
        self.bank = FakeBank(BARE)
        row = self.pay(Does.LOSE)
        resolver.resolve_due(bank=self.bank, limit=9, now=self.after(3600))
        row.refresh_from_db()
        self.assertTrue(row.needs_review)
        return row

    def test_is_not_given_back_by_an_operator_who_asks_about_the_open_attempt(self):
        row = self.in_review()
        self.compare(self.line_of(row, 2))
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            review.resolve(row.pk, paid=False, evidence="not on the list", actor=OSCAR)
        self.assertIn("attempt 2", str(got.exception))
        # A line that turns out to be wrong is acknowledged first.
        acknowledge(Alarm.objects.get(kind="unknown_payment").pk, actor=OSCAR)
        review.resolve(row.pk, paid=False, evidence="the bank, 14:05", actor=OSCAR)
        self.assert_money(self.alice, balance=1000)

    def test_agrees_when_an_operator_has_concluded_it_as_paid(self):
        """It is settled under the open attempt's number, and is nobody's other payment."""
        row = self.in_review()
        line = self.line_of(row, 2)
        review.resolve(row.pk, paid=True, evidence="the list, line 2", actor=OSCAR)
        since = self.after(-60)
        self.assertEqual(self.compare(line, since=since), [])
        self.assertEqual(self.compare(line, line, since=since), ["paid_twice"])
        both = [self.line_of(row, 1), line]
        self.assertEqual(self.compare(*both, since=since), ["paid_twice"])
        other = self.line_of(row, 2, amount=99)
        self.assertEqual(self.compare(other, since=since), ["paid_otherwise"])
        self.assert_money(self.alice, balance=900)

    def test_is_unknown_where_no_withdrawal_waits_for_it(self):
        cancelled = self.due_withdrawal(100)
        WithdrawalService.cancel(cancelled.pk)
        pending = self.due_withdrawal(100)
        for line in (
            self.line_of(cancelled, 1),
            self.line_of(pending, 5),
            StatementLine(self.line_of(pending, 1).reference, self.bob.uuid, 100),
            StatementLine(self.line_of(pending, 1).reference, None, 100),
        ):
            self.assertEqual(self.compare(line), ["unknown_payment"])

    def test_is_found_after_fewer_retries_are_allowed(self):
        row = self.due_withdrawal(100)
        with override_settings(WITHDRAWAL_MAX_RETRIES=1):
            found = self.compare(self.line_of(row, 4))
        self.assertEqual(found, ["paid_but_pending"])

    def test_is_found_among_many(self):
        rows = [self.due_withdrawal(100) for _ in range(7)]
        lines = [self.line_of(row, 1) for row in rows]
        with mock.patch.object(reconciliation, "CHUNK", 2):
            self.assertEqual(self.compare(*lines), ["paid_but_pending"] * 7)
        self.assertEqual(
            [finding.row for finding in self.findings],
            [f"withdrawal {row.pk}" for row in rows],
        )


@override_settings(THIRD_PARTY_STATEMENT=True)
class DamagedRowsTest(StatementTestCase):
    """A damaged row has its alarm, and everything else is compared."""

    books_must_be_right = False

    def _should_check_constraints(self, connection):
        return False

    @marks.slow
    def test_are_none_among_thousands_of_payments(self):
        """Engines and Django have limits for what one statement may list."""
        paid = self.pay()
        attempt = paid.attempts.get()
        rows = [copy.copy(paid) for _ in range(2100)]
        for row in rows:
            row.pk, row.idempotency_key = None, uuid.uuid4()
        Transaction.objects.bulk_create(rows)
        made = Transaction.objects.filter(pk__gt=paid.pk).order_by("pk")
        attempts = [copy.copy(attempt) for _ in rows]
        for new, row in zip(attempts, made, strict=True):
            new.pk, new.reference, new.transaction = None, uuid.uuid4(), row
        Attempt.objects.bulk_create(attempts)
        lines = [
            StatementLine(each.reference, self.alice.uuid, 100) for each in attempts
        ]
        self.assertEqual(self.compare(*lines), [])
        self.assertEqual(self.alarms(), [])

    def delete(self, row):
        with rules_off(type(row)):
            execute(f"DELETE FROM {row._meta.db_table} WHERE id = {row.pk}")

    def assert_put_aside(self, subject, *others, since=-3600, lines=()):
        for _ in range(2):
            found = self.compare(*lines, since=self.after(since))
            self.assertEqual(found, [*others, "damaged_rows"])
            self.assertEqual(self.findings[-1].row, subject)
        self.assertEqual(
            Alarm.objects.filter(kind="damaged_rows", subject=subject).count(), 1
        )

    def test_of_a_payment_that_is_not_on_the_list_and_has_no_withdrawal(self):
        bad, sound = self.pay(), self.pay()
        attempt = bad.attempts.get()
        self.bank.paid.clear()
        self.delete(bad)
        self.assert_put_aside(f"attempt {attempt.pk}", "not_on_statement")
        self.assertEqual(self.findings[0].row, f"attempt {sound.attempts.get()}")
        alarm = Alarm.objects.get(kind="damaged_rows")
        self.assertIn(
            f"{attempt.reference}: we have it as paid, and it is not on", alarm.detail
        )

    def test_of_a_payment_on_the_list_that_has_no_withdrawal(self):
        """It is not called a payment that nobody of ours has asked for."""
        bad, released = self.pay(), self.pay(Does.REFUSE)
        attempt = bad.attempts.get()
        line = StatementLine(released.attempts.get().reference, self.alice.uuid, 100)
        self.delete(bad)
        subject = f"attempt {attempt.pk}"
        self.assert_put_aside(subject, "paid_after_release", lines=[line])

    def test_of_a_wallet_that_is_not_there(self):
        bad, sound = self.pay(), self.pay()
        attempt = bad.attempts.get()
        update(Transaction, sound.pk, {"amount": 99})
        with rules_off(Transaction, Attempt):
            update(Transaction, bad.pk, {"wallet": 10**6})
        self.assert_put_aside(f"attempt {attempt.pk}", "paid_otherwise")

    @skipUnless(connection.vendor == "sqlite", "other engines have a type for it")
    def test_of_a_payment_that_cannot_be_read(self):
        bad, _ = self.pay(), self.pay()
        attempt = bad.attempts.get()
        self.bank.paid.clear()
        execute(f"UPDATE wallets_attempt SET reference = 'x' WHERE id = {attempt.pk}")
        self.assert_put_aside(f"attempt {attempt.pk}", "not_on_statement")

    @skipUnless(connection.vendor == "sqlite", "other engines have a type for it")
    def test_of_a_payment_on_the_list_that_cannot_be_read(self):
        bad, released = self.pay(), self.pay(Does.REFUSE)
        attempt = bad.attempts.get()
        line = StatementLine(released.attempts.get().reference, self.alice.uuid, 100)
        execute(f"UPDATE wallets_attempt SET claim_token = 'x' WHERE id = {attempt.pk}")
        subject = f"attempt {attempt.pk}"
        self.assert_put_aside(subject, "paid_after_release", lines=[line])

    @skipUnless(connection.vendor == "sqlite", "other engines have a type for it")
    def test_of_a_withdrawal_that_waits_to_be_paid_and_cannot_be_read(self):
        bad, sound = self.due_withdrawal(100), self.due_withdrawal(100)
        line = StatementLine(
            reference_of(sound, self.alice.uuid, 1), self.alice.uuid, 100
        )
        execute(
            f"UPDATE wallets_transaction SET idempotency_key = 'x' WHERE id = {bad.pk}"
        )
        subject = f"withdrawal {bad.pk}"
        self.assert_put_aside(subject, "paid_but_pending", lines=[line])

    def test_of_a_withdrawal_that_an_operator_has_concluded(self):
        self.bank = FakeBank(BARE)
        bad, sound = self.pay(Does.LOSE), self.due_withdrawal(100)
        resolver.resolve_due(bank=self.bank, limit=9, now=self.after(3600))
        review.resolve(bad.pk, paid=True, evidence="the list", actor=OSCAR)
        with rules_off(Attempt):
            update(Attempt, bad.attempts.get().pk, {"outcome": "rejected"})
        lines = [
            StatementLine(reference_of(row, self.alice.uuid, 2), self.alice.uuid, 100)
            for row in (bad, sound)
        ]
        self.assert_put_aside(f"withdrawal {bad.pk}", "paid_but_pending", lines=lines)

    def test_do_not_end_the_daily_run(self):
        bad = self.pay(now=self.after(-7200))
        self.bank.paid.clear()
        self.delete(bad)
        with mock.patch.object(
            reconciliation_daily, "get_bank", return_value=self.bank
        ):
            self.assertEqual(reconciliation_daily.reconcile_when_due(), 1)
        self.assertTrue(Heartbeat.objects.filter(name="statement").exists())

    @mock.patch.object(reconciliation_alarms, "MAX_ALARMS", 1)
    def test_raise_a_bounded_number_of_alarms(self):
        rows = [self.pay() for _ in range(3)]
        self.bank.paid.clear()
        for row in rows:
            self.delete(row)
        found = self.compare(since=self.after(-3600))
        self.assertEqual(found, ["damaged_rows"] * 3)
        self.assertEqual(self.alarms(), ["damaged_rows"] * 2)
        self.assertIn("2 more", Alarm.objects.first().detail)
        self.compare(since=self.after(-3600))
        self.assertEqual(self.alarms(), ["damaged_rows"] * 3)


@override_settings(THIRD_PARTY_STATEMENT=True)
class DailyRunTest(StatementTestCase):
    def setUp(self):
        super().setUp()
        patch = mock.patch.object(
            reconciliation_daily, "get_bank", return_value=self.bank
        )
        patch.start()
        self.addCleanup(patch.stop)

    def run_at(self, seconds):
        return reconciliation_daily.reconcile_when_due(now=self.after(seconds))

    def test_raises_alarms(self):
        self.pay(now=self.after(-7200))
        self.bank.paid.clear()
        self.assertEqual(tasks.reconcile_bank(), {"differences": 1})
        self.assertEqual(self.alarms(), ["not_on_statement"])

    def test_is_done_once_a_day_despite_restarts(self):
        for hours in (0, 1, 23.9):
            self.run_at(3600 * hours)
        self.assertEqual(len(self.bank.asked_for), 1)
        self.run_at(3600 * 24.1)
        self.assertEqual(len(self.bank.asked_for), 2)

    def test_is_done_although_the_clock_was_set_back(self):
        self.run_at(0)
        self.run_at(-3600)
        self.assertEqual(len(self.bank.asked_for), 2)

    def test_asks_for_a_day_more_than_has_passed_up_to_a_week(self):
        expected = []
        for days, period in ((0, 1), (2, 3), (40, 7)):
            self.run_at(86400 * days)
            Heartbeat.objects.update(ran_at=self.now)
            since = self.after(86400 * (days - period)) - CLOCKS_DIFFER
            expected.append((since, None))
        self.assertEqual(self.bank.asked_for, expected)

    def test_names_the_time_that_no_run_has_compared(self):
        """It is longer than one list may be, so a person compares it in parts."""
        self.run_at(0)
        Heartbeat.objects.update(ran_at=self.now)
        self.run_at(86400 * 5.9)
        self.assertEqual(self.alarms(), [])
        Heartbeat.objects.update(ran_at=self.now)
        self.run_at(86400 * 20)
        told = Alarm.objects.get()
        self.assertEqual(told.kind, "no_statement")
        since, until = self.after(-86400), self.after(86400 * 13)
        self.assertIn(
            f"manage.py reconcile_bank --from {instants.write(since)}"
            f" --to {instants.write(until)}",
            told.detail,
        )
        for written in (since, until):
            self.assertEqual(arguments.moment(instants.write(written)), written)

    def test_names_the_time_before_it_counts_as_compared(self):
        Heartbeat.objects.create(name="statement", ran_at=self.after(-86400 * 30))
        with mock.patch.object(heartbeat, "beat", side_effect=SystemExit):
            self.assertRaises(SystemExit, self.run_at, 0)
        self.assertEqual(self.alarms(), ["no_statement"])
        self.run_at(600)
        self.assertEqual(self.alarms(), ["no_statement"])

    def test_says_once_a_day_that_there_is_no_list_and_asks_again(self):
        self.bank.statement_trouble = "no answer from http://bank/payments"
        for seconds in (0, 1, 86400):
            self.assertEqual(self.run_at(seconds), 0)
        self.assertEqual(len(self.bank.asked_for), 3)
        self.assertEqual(self.alarms(), ["no_statement"] * 2)
        self.assertIn("http://bank/payments", Alarm.objects.first().detail)

    @override_settings(THIRD_PARTY_STATEMENT=False)
    def test_is_not_done_where_the_bank_has_no_list(self):
        self.assertEqual(tasks.reconcile_bank(), {"differences": 0})
        self.assertEqual(self.bank.asked_for, [])


class CommandTest(StatementTestCase):
    def run_command(self, *args):
        out = StringIO()
        with mock.patch(
            "wallets.management.commands.reconcile_bank.get_bank",
            return_value=self.bank,
        ):
            try:
                call_command("reconcile_bank", *args, stdout=out)
            except CommandError as error:
                return out.getvalue(), str(error)
        return out.getvalue(), ""

    def test_says_that_both_agree_and_for_which_time(self):
        self.pay(now=self.after(-3600))
        out, error = self.run_command()
        self.assertEqual(error, "")
        self.assertIn("Books and bank agree: 1 payments.", out)
        self.assertRegex(out, r"Payments of the books from \S+Z to \S+Z must be on")

    def test_names_each_difference_and_fails(self):
        self.pay(now=self.after(-3600))
        self.bank.paid.clear()
        out, error = self.run_command("--from", "2020-01-01")
        self.assertIn("not_on_statement: attempt ", out)
        self.assertEqual(error, "1 differences in 0 payments.")

    def test_says_that_an_empty_list_covers_nothing(self):
        self.pay(now=self.after(-3600))
        self.bank.paid.clear()
        out, error = self.run_command()
        self.assertEqual(error, "")
        self.assertIn("covers no time", out)

    def test_takes_moments_and_dates(self):
        for text in ("2026-11-01", "2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00"):
            self.run_command("--from", text, "--to", "2026-11-02")
        self.assertEqual(len(set(self.bank.asked_for)), 1)

    def test_refuses_what_is_no_period(self):
        for args in (
            ("--from", "yesterday"),
            ("--from", "2026-11-01T00:00:00"),
            ("--to", "2026-02-30"),
            ("--from", "2026-11-02", "--to", "2026-11-01"),
        ):
            with self.subTest(args):
                self.assertTrue(self.run_command(*args)[1])
        self.assertEqual(self.bank.asked_for, [])

    def test_survives_the_ends_of_time(self):
        _, error = self.run_command("--from", "0001-01-01", "--to", "9999-12-31")
        self.assertEqual(error, "")

    def test_says_in_one_line_that_there_is_no_list(self):
        self.bank.statement_trouble = "no answer from http://bank/payments: why"
        _, error = self.run_command()
        self.assertEqual(
            error,
            "The bank's list cannot be had: no answer from http://bank/payments: why.",
        )


@override_settings(WITHDRAWALS_PAUSED=True)
class PausedTest(WalletTestCase):
    """While payouts are paused, for example after a restored backup."""

    def test_executes_nothing(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(100)
        with self.assertRaises(Transaction.DoesNotExist):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        sweep = drain.Drain(claiming.find_due, bank=self.bank, seconds=5)
        self.assertEqual(sweep.run(), 0)
        self.assertEqual(self.bank.requests, [])

    def test_goes_on_looking_up_but_sends_nothing_again(self):
        self.deposit(1000)
        for abilities, ends_as in ((ABLE, "COMPLETED"), (DEDUPES_ONLY, "PROCESSING")):
            with self.subTest(abilities=abilities):
                bank = FakeBank(abilities, (Does.PAY_SILENTLY,))
                withdrawal = self.due_withdrawal(100)
                with override_settings(WITHDRAWALS_PAUSED=False):
                    WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)
                resolver.resolve_due(bank=bank, limit=10, now=self.after(3600))
                withdrawal.refresh_from_db()
                self.assertEqual(withdrawal.status, ends_as)
                self.assertEqual(len(bank.requests), 1)
                Attempt.objects.filter(open=True).update(next_check_at=None)

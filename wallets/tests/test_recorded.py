"""The bank paid an attempt that had ended as not paid, and an operator has recorded it."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction

from wallets.errors import InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.operations import alarm, record
from wallets.services.operations.reconciliation import Comparison
from wallets.services.payouts import outcome
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests import builders
from wallets.tests.api import nothing_written
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.tests.fakes import Does
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.bank.payment_list import StatementLine

HOUR, DAY = 3600, 86400
WORDS = {"evidence": "statement of Monday, line 4", "actor": OSCAR}
PAID = Answer(Outcome.ACCEPTED, "paid", 200)


class RecordedCase(WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000)
        self.row, self.ended = self.refused(-2 * HOUR)

    def refused(self, seconds: float) -> tuple[Transaction, Attempt]:
        """Return a withdrawal that the bank refused then, and its attempt."""
        at = self.after(seconds)
        row = builders.due_withdrawal(self.alice, 100, due=at)
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(row.pk, bank=self.bank, now=at)
        return row, row.attempts.get()

    def reference(self, number: int) -> uuid.UUID:
        return reference_of(self.row, self.alice.uuid, number)

    def compare(
        self, *lines: tuple[uuid.UUID, float], since: float = -DAY, at: float = HOUR
    ) -> list[str]:
        """Compare with a list on which the bank has paid these, at these seconds."""
        listed = [
            StatementLine(reference, self.alice.uuid, 100, self.after(seconds))
            for reference, seconds in lines
        ]
        comparison = Comparison(listed, self.after(at), since=self.after(since))
        return [finding.check for finding in comparison.findings()]

    def listed(self, seconds: float = -2 * HOUR, **period: float) -> list[str]:
        """Compare with a list that has the first attempt once."""
        return self.compare((self.ended.reference, seconds), **period)

    def answer_late(self) -> None:
        with transaction.atomic():
            row = Transaction.objects.get(pk=self.row.pk)
            outcome.check_late_answer(row, self.ended, PAID)

    def record(self, **more: object) -> Attempt:
        record.record_paid(self.row.pk, **{**WORDS, **more})
        return self.row.attempts.get(outcome="accepted")

    def assert_no_alarm(self) -> None:
        found = alarm.unacknowledged().values_list("kind", "detail")
        self.assertEqual(list(found), [])


class RecordedTest(RecordedCase):
    """It…"""

    def test_agrees_with_every_later_list(self) -> None:
        self.assertEqual(self.listed(), ["paid_after_release"])
        self.record()
        for _ in range(2):
            self.assertEqual(self.listed(), [])
        self.assert_no_alarm()
        self.assert_money(self.alice, balance=900)

    def test_agrees_after_an_alarm_from_a_late_answer(self) -> None:
        self.answer_late()
        self.record()
        self.assertEqual(self.listed(), [])
        self.assert_no_alarm()

    def test_agrees_if_the_operator_names_its_reference(self) -> None:
        self.record(reference=self.ended.reference)
        self.assertEqual(self.listed(), [])
        self.assert_no_alarm()

    def test_agrees_if_nobody_has_said_which_attempt_was_paid(self) -> None:
        self.record()
        self.assertEqual(self.listed(), [])
        self.assert_no_alarm()

    def test_agrees_if_an_earlier_release_has_recorded_it(self) -> None:
        """It said nothing of the reference, and left no alarm open."""
        self.answer_late()
        made = self.record()
        Attempt.objects.filter(pk=made.pk).update(answer="")
        self.assertEqual(self.listed(), [])
        self.assert_no_alarm()

    def test_is_missed_by_a_list_that_has_no_line_of_it(self) -> None:
        self.record(reference=self.ended.reference)
        self.assertEqual(self.compare(), ["not_on_statement"])

    def test_counts_from_when_it_was_sent_unless_more_is_known(self) -> None:
        """It is recorded days later, when lists do not have its line any more."""
        self.row, self.ended = self.refused(-5 * DAY)
        self.answer_late()
        made = self.record()
        self.assertEqual(made.started_at, self.ended.last_sent_at)
        self.assertEqual(self.compare(since=-DAY), [])
        self.assertEqual(self.compare(since=-6 * DAY), ["not_on_statement"])
        other, ended = self.refused(-5 * DAY)
        known = {"reference": ended.reference, "paid_at": self.after(-4 * DAY)}
        record.record_paid(other.pk, **WORDS, **known)
        self.assertEqual(other.attempts.last().started_at, self.after(-4 * DAY))

    def test_is_paid_twice_if_a_list_has_it_twice(self) -> None:
        made = self.record(reference=self.ended.reference)
        once = (self.ended.reference, -2.0 * HOUR)
        for again in (once, (made.reference, -HOUR)):
            self.assertEqual(self.compare(once, again), ["paid_twice"])
            self.assertEqual(self.compare(again, once), ["paid_twice"])
        found = Alarm.objects.get()
        self.assertEqual((found.kind, found.attempt_number), ("paid_twice", 2))

    def test_is_paid_twice_if_the_bank_pays_again_days_later(self) -> None:
        """That line is alone on its list."""
        self.record(reference=self.ended.reference)
        later = {"since": 2 * DAY, "at": 4 * DAY}
        self.assertEqual(self.listed(3 * DAY, **later), ["paid_twice"])
        self.assertEqual(Alarm.objects.get().kind, "paid_twice")

    def test_is_paid_once_although_the_clocks_differ(self) -> None:
        self.record(reference=self.ended.reference)
        for seconds in (-14 * HOUR, 14 * HOUR, DAY - 60):
            self.assertEqual(self.listed(seconds, at=DAY), [])

    def test_takes_no_other_amount(self) -> None:
        self.record(reference=self.ended.reference)
        line = StatementLine(self.ended.reference, self.alice.uuid, 99, self.now)
        comparison = Comparison([line], self.after(HOUR), since=self.after(-DAY))
        found = [finding.check for finding in comparison.findings()]
        self.assertEqual(found, ["paid_otherwise"])

    def test_is_told_again_by_a_late_answer_without_an_alarm(self) -> None:
        self.record(reference=self.ended.reference)
        self.answer_late()
        self.assert_no_alarm()


class OtherPaymentTest(RecordedCase):
    """It is another payment than the recorded one if…"""

    def test_the_operator_has_named_the_reference_of_the_next_attempt(self) -> None:
        self.record(reference=self.reference(2), paid_at=self.after(-HOUR))
        line = (self.reference(2), -HOUR)
        self.assertEqual(self.compare(line), [])
        both = self.compare((self.ended.reference, -2.0 * HOUR), line)
        self.assertEqual(both, ["paid_after_release"])
        self.answer_late()
        self.assertEqual(alarm.unacknowledged().get().attempt_number, 1)

    def test_the_next_attempt_was_sent(self) -> None:
        at = self.after(-HOUR)
        WithdrawalService.execute(self.row.pk, bank=self.bank, now=at)
        # As if an operator had concluded it, after a crash without an answer.
        self.row.attempts.filter(number=2).update(answer="")
        self.row.refresh_from_db()
        self.assertEqual(self.row.status, "COMPLETED")
        both = self.compare(
            (self.ended.reference, -2.0 * HOUR), (self.reference(2), -HOUR)
        )
        self.assertEqual(both, ["paid_after_release"])

    def test_another_attempt_that_had_ended_was_paid(self) -> None:
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(self.row.pk, bank=self.bank, now=self.after(-HOUR))
        self.record(reference=self.reference(2))
        self.assertEqual(self.compare((self.reference(2), -HOUR)), [])
        both = self.compare(
            (self.ended.reference, -2.0 * HOUR), (self.reference(2), -HOUR)
        )
        self.assertEqual(both, ["paid_after_release"])


class WhichAttemptTest(RecordedCase):
    """Which attempt the bank has paid…"""

    def assert_recorded(self, made: Attempt, number: int, said: uuid.UUID) -> None:
        self.assertEqual((made.number, made.sends), (number, 0))
        self.assertEqual(made.reference, self.reference(number))
        self.assertEqual(made.answer, f"paid under reference {said}")
        self.assert_no_alarm()
        self.assert_money(self.alice, balance=900)

    def test_is_what_the_operator_says(self) -> None:
        self.assertEqual(self.listed(), ["paid_after_release"])
        made = self.record(reference=self.ended.reference)
        self.assert_recorded(made, 2, self.ended.reference)

    def test_is_what_the_alarm_says(self) -> None:
        self.assertEqual(self.listed(), ["paid_after_release"])
        self.assert_recorded(self.record(), 2, self.ended.reference)

    def test_is_what_the_alarm_says_of_a_later_attempt(self) -> None:
        """After a restored backup the list names attempt 3."""
        third = self.reference(3)
        self.assertEqual(self.compare((third, -HOUR)), ["paid_but_pending"])
        self.assert_recorded(self.record(), 3, third)
        self.assertEqual(self.compare((third, -HOUR), since=-HOUR - 60), [])

    def test_must_be_said_if_alarms_are_about_several(self) -> None:
        lines = (self.ended.reference, -2.0 * HOUR), (self.reference(2), -HOUR)
        self.compare(*lines)
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            self.record()
        self.assertEqual(got.exception.field, "reference")
        for reference, _ in lines:
            self.assertIn(str(reference), str(got.exception))
        self.record(reference=self.reference(2))
        self.assertEqual(alarm.unacknowledged().get().attempt_number, 1)

    def test_is_none_of_another_withdrawal(self) -> None:
        _, others = self.refused(-HOUR)
        with nothing_written(), self.assertRaises(InvalidInput):
            self.record(reference=others.reference)

    def test_may_be_a_later_one_if_nobody_has_said_which(self) -> None:
        self.record(paid_at=self.now - timedelta(hours=1))
        third = self.reference(3)
        self.assertEqual(self.compare((third, -HOUR)), [])
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            record.record_payment(self.alice.uuid, 100, reference=third, **WORDS)
        self.assertIn("the ledger has it as paid", str(got.exception))

"""What the bank's list says about an attempt whose outcome is still unknown."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from wallets.errors import InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.operations import (
    alarm,
    reconciliation,
    reconciliation_alarms,
    reconciliation_daily,
    review,
)
from wallets.services.operations.reconciliation import Comparison
from wallets.services.payouts import look_up, payout
from wallets.tests.api import nothing_written
from wallets.tests.base import OSCAR
from wallets.tests.fakes import ABLE, BARE, DEDUPES_ONLY, LOOKS_UP_ONLY, Does
from wallets.tests.unknowns import (
    LEASE,
    NOT_FOUND,
    PAID,
    QUIET,
    REFUSED,
    ResolverTestCase,
)
from wallets.utils import instants
from wallets.utils.bank.interface import Answer, Outcome
from wallets.utils.bank.payment_list import StatementLine

DAY = 86400
LATER = 10 * QUIET


class ListedCase(ResolverTestCase):
    def compare(self, row: Transaction, at: float = 0) -> list[str]:
        """Compare with a list that has the withdrawal's attempt."""
        made = row.attempts.get()
        line = StatementLine(made.reference, self.alice.uuid, row.amount, self.now)
        comparison = Comparison([line], self.after(at), since=self.after(-60))
        return [finding.check for finding in comparison.findings()]

    def alarm_of(self, row: Transaction) -> Alarm:
        return Alarm.objects.get(transaction=row, kind=Alarm.Kind.UNKNOWN_PAYMENT)


class ListedAttemptTest(ListedCase):
    """An open attempt that the bank's list shows as paid…"""

    def test_has_an_alarm(self) -> None:
        row = self.unknown()
        for _ in range(2):
            self.assertEqual(self.compare(row), ["paid_not_recorded"])
        found = self.alarm_of(row)
        self.assertEqual(found.attempt_number, 1)
        self.assertIn(str(row.attempts.get().reference), found.detail)
        self.assertIsNone(found.acknowledged_at)

    def test_is_not_released_by_not_found(self) -> None:
        row = self.unknown()
        self.compare(row)
        for nth in range(6):
            self.resolve(LATER * (nth + 1), NOT_FOUND)
        self.assert_state(row, State.NEEDS_REVIEW)
        self.assert_held()
        asked = Alarm.objects.get(transaction=row, kind=Alarm.Kind.NEEDS_REVIEW)
        self.assertEqual(asked.detail, look_up.LISTED)

    def test_is_not_released_by_refused(self) -> None:
        """A refused one is sent again: the bank would pay both."""
        row = self.unknown()
        self.compare(row)
        self.resolve(LATER, REFUSED)
        self.assert_state(row, State.NEEDS_REVIEW)
        self.assert_held()

    def test_is_not_released_although_somebody_has_read_the_alarm(self) -> None:
        """To read it is no evidence; an operator then says what has happened."""
        row = self.unknown()
        self.compare(row)
        alarm.acknowledge(self.alarm_of(row).pk, actor=OSCAR)
        for nth in range(4):
            self.resolve(LATER * (nth + 1), NOT_FOUND)
        self.assert_state(row, State.NEEDS_REVIEW)
        review.resolve(row.pk, paid=False, evidence="the list erred", actor=OSCAR)
        self.assert_money(self.alice, balance=1000)

    def test_is_recorded_when_the_bank_finds_it_and_its_alarm_ends(self) -> None:
        row = self.unknown()
        self.compare(row)
        self.resolve(LATER, PAID)
        self.assert_state(row, State.COMPLETED)
        self.assertIsNotNone(self.alarm_of(row).acknowledged_at)
        self.assertEqual(self.compare(row), [])

    def test_is_not_released_although_the_list_is_full_of_other_differences(
        self,
    ) -> None:
        row = self.unknown()
        with mock.patch.object(reconciliation_alarms, "MAX_ALARMS", 0):
            self.compare(row)
        for nth in range(6):
            self.resolve(LATER * (nth + 1), NOT_FOUND)
        self.assert_state(row, State.NEEDS_REVIEW)
        self.assert_held()

    def test_does_not_keep_another_attempt_from_its_release(self) -> None:
        row, other = self.unknown(), self.unknown()
        self.compare(row)
        for nth in range(4):
            self.resolve(LATER * (nth + 1), NOT_FOUND, NOT_FOUND)
        self.assert_state(row, State.NEEDS_REVIEW)
        other.refresh_from_db()
        self.assertEqual(other.status, "FAILED")

    def test_has_no_alarm_while_its_sender_is_at_work(self) -> None:
        """The sender records it within its lease, as thousands a day."""
        row, _ = self.crashed()
        self.assertEqual(self.compare(row), ["paid_not_recorded"])
        self.assertFalse(Alarm.objects.exists())
        self.assertEqual(self.compare(row, at=LEASE + 1), ["paid_not_recorded"])
        self.assertIsNone(self.alarm_of(row).acknowledged_at)

    def test_has_no_alarm_if_it_was_recorded_meanwhile(self) -> None:
        row = self.unknown()
        read = row.attempts.select_related("transaction").get()
        self.resolve(LATER, PAID)
        alarms = reconciliation_alarms.StatementAlarms(self.now)
        alarms.of_listed(read, "on the bank's list")
        self.assertFalse(Alarm.objects.exists())


class ListedReviewTest(ListedCase):
    """An attempt in review that the bank's list shows as paid…"""

    abilities = BARE

    def in_review(self) -> Transaction:
        row = self.unknown()
        self.resolve(LATER)
        self.assert_state(row, State.NEEDS_REVIEW)
        self.compare(row)
        return row

    def test_cannot_be_concluded_as_not_paid(self) -> None:
        row = self.in_review()
        with nothing_written(), self.assertRaises(InvalidInput) as got:
            review.resolve(row.pk, paid=False, evidence="a call", actor=OSCAR)
        self.assertIn("The bank's list has this payment", str(got.exception))

    def test_can_be_concluded_as_paid_and_its_alarm_ends(self) -> None:
        row = self.in_review()
        review.resolve(row.pk, paid=True, evidence="the list", actor=OSCAR)
        self.assert_state(row, State.COMPLETED)
        self.assertFalse(alarm.unacknowledged().exists())
        self.assertFalse(Attempt.objects.exclude(outcome="accepted").exists())


class ListedSenderTest(ListedCase):
    """An attempt of which the sender's answer comes after its alarm…"""

    abilities = DEDUPES_ONLY

    def test_ends_the_alarm_if_it_was_sent_again(self) -> None:
        row = self.unknown(Does.PAY_SILENTLY)
        self.compare(row)
        self.resolve(LATER)
        self.assert_state(row, State.COMPLETED)
        self.assertIsNotNone(self.alarm_of(row).acknowledged_at)

    def test_ends_the_alarm_if_the_lease_had_ended(self) -> None:
        row, sending = self.crashed()
        self.compare(row, at=LEASE + 1)
        payout.record([(sending, PAID)], now=self.after(LEASE + 2))
        self.assert_state(row, State.COMPLETED)
        self.assertIsNotNone(self.alarm_of(row).acknowledged_at)

    def test_keeps_the_alarm_if_the_answer_is_lost_again(self) -> None:
        """No answer is no evidence: the money must not be given back."""
        row = self.unknown(Does.PAY_SILENTLY)
        self.compare(row)
        lost = Answer(Outcome.UNKNOWN, "ReadTimeout")
        with mock.patch.object(self.bank, "pay", return_value=lost):
            self.resolve(LATER)
        self.assert_state(row, State.UNKNOWN)
        self.assertIsNone(self.alarm_of(row).acknowledged_at)
        self.resolve(7 * DAY)
        self.assert_state(row, State.NEEDS_REVIEW)
        with nothing_written(), self.assertRaises(InvalidInput):
            review.resolve(row.pk, paid=False, evidence="a call", actor=OSCAR)

    def test_keeps_the_alarm_if_the_first_senders_answer_is_lost(self) -> None:
        row, sending = self.crashed()
        self.compare(row, at=LEASE + 1)
        lost = Answer(Outcome.UNKNOWN, "ReadTimeout")
        payout.record([(sending, lost)], now=self.after(LEASE + 2))
        self.assert_state(row, State.UNKNOWN)
        self.assertIsNone(self.alarm_of(row).acknowledged_at)

    def test_is_not_sent_a_third_time_if_the_list_has_it_twice(self) -> None:
        """So the bank does not dedupe, whatever was declared."""
        row = self.unknown(Does.PAY_SILENTLY)
        self.compare(row)
        alarm.raise_alarm(
            Alarm.Kind.PAID_TWICE, row, attempt_number=1, detail="two lines"
        )
        before = len(self.bank.requests)
        self.resolve(LATER)
        self.assert_state(row, State.NEEDS_REVIEW)
        self.assertEqual(len(self.bank.requests), before)
        Alarm.objects.filter(kind=Alarm.Kind.UNKNOWN_PAYMENT).delete()
        with nothing_written(), self.assertRaises(InvalidInput):
            review.resolve(row.pk, paid=False, evidence="a call", actor=OSCAR)

    def test_costs_no_query_within_the_lease(self) -> None:
        _, sending = self.crashed()
        with CaptureQueriesContext(connection) as ran:
            payout.record([(sending, PAID)], now=self.after(1))
        self.assertFalse([q for q in ran if "wallets_alarm" in q["sql"]])


class ListedDuringLookUpTest(ListedCase):
    """An attempt is compared with the list while a look-up is under way: it…"""

    abilities = LOOKS_UP_ONLY

    def test_is_not_released(self) -> None:
        row = self.unknown(Does.PAY_SILENTLY)
        self.resolve(LATER, NOT_FOUND)
        ask = self.bank.look_up

        def compare_then_ask(payment):
            self.compare(row)
            return ask(payment)

        self.bank.look_up = compare_then_ask
        self.resolve(2 * LATER, NOT_FOUND)
        self.assert_state(row, State.NEEDS_REVIEW)
        self.assert_held()


class ListedAgainTest(ListedCase):
    """A paid attempt that a later list shows alone…"""

    abilities = ABLE

    def paid(self) -> Attempt:
        row = self.unknown(Does.PAY)
        self.assert_state(row, State.COMPLETED)
        return row.attempts.get()

    def listed(self, made: Attempt, *seconds: float | None, at: float = 0) -> list[str]:
        """Compare with a list on which the bank has paid it at these times."""
        lines = [
            StatementLine(
                made.reference,
                self.alice.uuid,
                100,
                None if each is None else self.after(each),
            )
            for each in seconds
        ]
        comparison = Comparison(lines, self.after(at), since=self.after(at - 2 * DAY))
        return [finding.check for finding in comparison.findings()]

    def test_is_paid_twice_if_the_bank_paid_days_after_its_answer(self) -> None:
        made = self.paid()
        self.assertEqual(self.listed(made, 1, at=DAY), [])
        for _ in range(2):
            self.assertEqual(self.listed(made, 5 * DAY, at=6 * DAY), ["paid_twice"])
        found = Alarm.objects.get()
        self.assertEqual((found.kind, found.attempt_number), ("paid_twice", 1))
        self.assertIn(instants.write(self.after(5 * DAY)), found.detail)

    def test_is_paid_once_although_the_clocks_differ(self) -> None:
        """Also by a zone: the bank may write its local time as UTC."""
        made = self.paid()
        for seconds in (-14 * 3600, -3600, 30, 3600, 14 * 3600, DAY - 60):
            self.assertEqual(self.listed(made, seconds, at=DAY), [])

    def test_is_paid_once_if_its_line_has_no_time(self) -> None:
        self.assertEqual(self.listed(self.paid(), None, at=9 * DAY), [])

    def test_is_paid_once_if_the_bank_booked_it_late(self) -> None:
        """The list that covered its time did not have it, and said so."""
        made = self.paid()
        self.assertEqual(self.listed(made, at=DAY), ["not_on_statement"])
        self.assertEqual(self.listed(made, 3 * DAY, at=4 * DAY), [])

    def test_is_paid_once_if_it_was_unknown_until_then(self) -> None:
        """What counts is the bank's word that it paid, not the time of sending."""
        row = self.unknown(Does.LOSE)
        self.resolve(4 * DAY, PAID)
        self.assert_state(row, State.COMPLETED)
        made = row.attempts.get()
        self.assertEqual(self.listed(made, 4 * DAY, at=5 * DAY), [])

    def test_leaves_no_gap_to_a_payment_twice_on_one_list(self) -> None:
        """A daily list goes back a day and an hour more than what is called late."""
        late = reconciliation.LATE + timedelta(
            seconds=settings.THIRD_PARTY_DEADLINE + settings.THIRD_PARTY_BOOKING_TIME
        )
        overlap = reconciliation_daily.DAY + reconciliation.CLOCKS_DIFFER
        self.assertLess(late, overlap)

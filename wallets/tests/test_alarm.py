"""Alarms: each is raised once, and a person acknowledges it."""

from datetime import timedelta

from wallets.errors import InvalidInput
from wallets.models.alarm import Alarm
from wallets.services.operations import alarm
from wallets.tests.base import OSCAR, WalletTestCase


class AlarmTest(WalletTestCase):
    def setUp(self):
        super().setUp()
        self.withdrawal = self.due_withdrawal(400)
        for _ in range(2):
            alarm.raise_alarm(
                Alarm.Kind.PAID_TWICE, self.withdrawal, attempt_number=1, detail="x"
            )

    def test_is_raised_once_for_each_attempt_and_kind(self):
        self.assertEqual(alarm.unacknowledged().count(), 1)

    def test_has_the_time_of_what_it_is_about(self):
        night = self.now - timedelta(hours=14)
        alarm.raise_alarm(
            Alarm.Kind.NEEDS_REVIEW,
            self.withdrawal,
            attempt_number=1,
            detail="x",
            now=night,
        )
        raised = alarm.unacknowledged().get(kind=Alarm.Kind.NEEDS_REVIEW)
        self.assertEqual(raised.created_at, night)

    def test_is_acknowledged_by_the_first_who_does(self):
        raised = alarm.unacknowledged().get()
        first = alarm.acknowledge(raised.pk, actor=OSCAR)
        second = alarm.acknowledge(raised.pk, actor="operator olga")

        self.assertEqual(first.acknowledged_by, OSCAR)
        self.assertEqual(second.acknowledged_by, OSCAR)
        self.assertEqual(second.acknowledged_at, first.acknowledged_at)
        self.assertFalse(alarm.unacknowledged().exists())

    def test_refuses_an_empty_actor_and_an_unknown_alarm(self):
        with self.assertRaises(InvalidInput):
            alarm.acknowledge(alarm.unacknowledged().get().pk, actor="")
        with self.assertRaises(Alarm.DoesNotExist):
            alarm.acknowledge(0, actor=OSCAR)


class OpenedAgainTest(WalletTestCase):
    """An acknowledged alarm…"""

    books_must_be_right = False  # one alarm says that rows are damaged

    def after_another(self, kind: Alarm.Kind, detail: str) -> Alarm:
        withdrawal = self.due_withdrawal(400)
        for each in ("first", detail):
            alarm.raise_alarm(kind, withdrawal, attempt_number=1, detail=each)
            raised = withdrawal.alarms.get()
            if each == "first":
                alarm.acknowledge(raised.pk, actor=OSCAR)
        return raised

    def test_is_opened_again_by_new_evidence(self):
        for kind in (Alarm.Kind.PAID_TWICE, Alarm.Kind.DAMAGED_ROWS):
            found = self.after_another(kind, "second")
            self.assertIsNone(found.acknowledged_at)
            self.assertEqual(found.acknowledged_by, "")
            self.assertEqual(
                found.detail, f"second. Acknowledged before by {OSCAR}: first"
            )

    def test_stays_so_if_the_evidence_is_what_was_acknowledged(self):
        found = self.after_another(Alarm.Kind.PAID_TWICE, "first")
        self.assertEqual((found.acknowledged_by, found.detail), (OSCAR, "first"))

    def test_stays_so_if_it_does_not_say_that_something_is_paid(self):
        found = self.after_another(Alarm.Kind.NEEDS_REVIEW, "second")
        self.assertEqual(found.acknowledged_by, OSCAR)

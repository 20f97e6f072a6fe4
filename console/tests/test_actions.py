"""The buttons: one POST, one service call, the operator recorded; refusals as sentences."""

from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from console.tests.base import ConsoleTestCase
from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services import review
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR
from wallets.tests.fakes import Does

Status = Transaction.Status


class ActionTestCase(ConsoleTestCase):
    def press(self, button, pk, *args, **data):
        """Post what the button posts; return what the page says then."""
        answer = self.client.post(
            reverse(f"console:{button}", args=[pk, *args]), data, follow=True
        )
        self.assertEqual(answer.status_code, 200)
        return " ".join(str(message) for message in get_messages(answer.wsgi_request))

    def last_actor(self, withdrawal):
        return withdrawal.transitions.last().actor


class CancelTest(ActionTestCase):
    def test_asks_first(self):
        withdrawal = self.due_withdrawal(10)
        page = self.client.get(reverse("console:cancel", args=[withdrawal.pk]))
        self.assertContains(page, "Cancel this withdrawal?")
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, Status.PENDING)

    def test_cancels_and_records_who(self):
        withdrawal = self.due_withdrawal(10)
        said = self.press("cancel", withdrawal.pk)

        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, Status.CANCELLED)
        self.assertEqual(self.last_actor(withdrawal), OSCAR)
        self.assertIn("cancelled", said)

    def test_says_so_when_it_is_too_late(self):
        self.deposit(100)
        withdrawal = self.execute(10)
        said = self.press("cancel", withdrawal.pk)
        self.assertEqual(said, "Nothing was changed: the withdrawal is “Paid” by now.")

    def test_knows_no_deposit_and_no_stranger(self):
        for pk in (self.deposit(5).pk, 10**17):
            with self.subTest(pk=pk):
                answer = self.client.post(reverse("console:cancel", args=[pk]))
                self.assertEqual(answer.status_code, 404)


class RetryTest(ActionTestCase):
    def test_makes_the_next_attempt_due(self):
        self.deposit(100)
        withdrawal = self.execute(10, Does.REFUSE)
        said = self.press("retry", withdrawal.pk)

        self.assertIn("due now", said)
        self.assertEqual(self.last_actor(withdrawal), OSCAR)
        done = WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        self.assertEqual(done.status, Status.COMPLETED)

    def test_says_so_when_there_is_nothing_to_retry(self):
        said = self.press("retry", self.due_withdrawal(10).pk)
        self.assertIn("“Scheduled” by now", said)


class ResolveTest(ActionTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.withdrawal_in_review(400)

    def test_asks_with_the_reference_at_hand(self):
        path = reverse("console:resolve", args=[self.withdrawal.pk, "paid"])
        page = self.client.get(path)
        self.assertContains(page, self.withdrawal.attempts.get().reference)
        self.assertContains(page, "left the wallet for good")

    def test_settles_what_the_bank_paid(self):
        self.press("resolve", self.withdrawal.pk, "paid", evidence="statement 7")

        self.withdrawal.refresh_from_db()
        self.assertEqual(self.withdrawal.status, Status.COMPLETED)
        self.assert_money(self.alice, balance=600)
        row = self.withdrawal.transitions.last()
        self.assertEqual((row.actor, row.evidence), (OSCAR, "statement 7"))

    def test_gives_back_what_the_bank_did_not_pay(self):
        self.press(
            "resolve", self.withdrawal.pk, "not-paid", evidence="Mrs Smith, phone"
        )

        self.withdrawal.refresh_from_db()
        self.assertTrue(self.withdrawal.final)
        self.assert_money(self.alice, balance=1000)

    def test_wants_evidence(self):
        for evidence in ("", "   ", "x" * 2001):
            with self.subTest(length=len(evidence)):
                self.press("resolve", self.withdrawal.pk, "paid", evidence=evidence)
                self.withdrawal.refresh_from_db()
                self.assertTrue(self.withdrawal.needs_review)

    def test_happens_once(self):
        self.press("resolve", self.withdrawal.pk, "not-paid", evidence="first")
        said = self.press("resolve", self.withdrawal.pk, "paid", evidence="second")

        self.assertIn("Nothing was changed", said)
        self.assert_money(self.alice, balance=1000)
        alarm = Alarm.objects.get(kind=Alarm.Kind.PAID_AFTER_RELEASE)
        self.assertIn("second", alarm.detail)

    def test_is_offered_in_the_queue_the_longest_waiting_first(self):
        page = self.client.get(reverse("console:review"))
        self.assertContains(page, self.withdrawal.attempts.get().reference)
        self.assertEqual(list(review.waiting()), [self.withdrawal])


class AcknowledgeTest(ActionTestCase):
    def test_notes_who_has_seen_it(self):
        self.deposit(100)
        self.withdrawal_in_review(10)
        alarm = Alarm.objects.get()
        page = self.client.get(reverse("console:alarms"))
        self.assertContains(page, "Nobody knows whether the bank paid")

        self.press("acknowledge", alarm.pk)

        alarm.refresh_from_db()
        self.assertEqual(alarm.acknowledged_by, OSCAR)
        self.assertNotContains(
            self.client.get(reverse("console:alarms")), "Acknowledge<"
        )
        everything = self.client.get(reverse("console:alarms") + "?all=1")
        self.assertContains(everything, OSCAR)

    def test_knows_no_stranger(self):
        answer = self.client.post(reverse("console:acknowledge", args=[10**17]))
        self.assertEqual(answer.status_code, 404)


class ForgeryTest(ActionTestCase):
    def test_is_refused_for_every_button(self):
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.oscar)
        withdrawal = self.due_withdrawal(10)
        for name, args in (
            ("cancel", [withdrawal.pk]),
            ("retry", [withdrawal.pk]),
            ("resolve", [withdrawal.pk, "paid"]),
            ("acknowledge", [1]),
            ("logout", []),
        ):
            with self.subTest(name=name):
                answer = client.post(reverse(f"console:{name}", args=args))
                self.assertEqual(answer.status_code, 403)

    def test_needs_more_than_a_look(self):
        self.client.force_login(self.olga)
        withdrawal = self.due_withdrawal(10)
        answer = self.client.post(reverse("console:cancel", args=[withdrawal.pk]))
        self.assertEqual(answer.status_code, 403)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, Status.PENDING)

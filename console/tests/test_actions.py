"""The buttons: each is one POST and one service call, recorded with the operator.

A refusal is shown as a sentence.
"""

from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client, override_settings
from django.urls import reverse

from console.templatetags import console as console_tags
from console.tests.base import ConsoleTestCase, staff
from wallets.models.alarm import Alarm
from wallets.models.payment_return import PaymentReturn
from wallets.models.transaction import Transaction
from wallets.services.operations import review
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.reference import reference_of
from wallets.tests.base import OSCAR, utc
from wallets.tests.fakes import Does

Status = Transaction.Status


class ActionTestCase(ConsoleTestCase):
    def press(self, button, pk, *args, **data):
        """Send the button's POST; return the message on the next page."""
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

    def test_cancels_what_has_failed_and_waits_for_a_retry(self):
        self.deposit(100)
        failed = self.execute(10, Does.REFUSE)
        page = self.client.get(reverse("console:withdrawal", args=[failed.pk]))
        self.assertContains(page, "Cancel…")
        self.assertIn("cancelled", self.press("cancel", failed.pk))
        failed.refresh_from_db()
        self.assertEqual(failed.status, Status.CANCELLED)

    def test_shows_a_message_when_it_is_too_late(self):
        self.deposit(100)
        withdrawal = self.execute(10)
        said = self.press("cancel", withdrawal.pk)
        self.assertEqual(said, "Nothing was changed: the withdrawal is “Paid” by now.")

    def test_gets_404_for_a_deposit_and_an_unknown_id(self):
        for pk in (self.deposit(5).pk, 10**17):
            with self.subTest(pk=pk):
                answer = self.client.post(reverse("console:cancel", args=[pk]))
                self.assertEqual(answer.status_code, 404)


class RescheduleTest(ActionTestCase):
    def test_asks_for_the_new_time(self):
        withdrawal = self.due_withdrawal(10)
        page = self.client.get(reverse("console:reschedule", args=[withdrawal.pk]))
        self.assertContains(page, "Reschedule this withdrawal?")
        self.assertContains(page, 'name="scheduled_for"')
        withdrawal.refresh_from_db()
        self.assertIsNone(withdrawal.first_scheduled_for)

    def test_gives_it_the_time_and_shows_both(self):
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 10, self.after(3600))
        said = self.press("reschedule", withdrawal.pk, scheduled_for="2030-06-01T12:30")
        self.assertEqual(said, "The withdrawal is rescheduled.")
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.scheduled_for, utc(2030, 6, 1, 12, 30))
        self.assertEqual(self.last_actor(withdrawal), OSCAR)
        page = self.client.get(reverse("console:withdrawal", args=[withdrawal.pk]))
        self.assertContains(page, "First planned for")
        first = console_tags.utc(withdrawal.first_scheduled_for)
        new = console_tags.utc(withdrawal.scheduled_for)
        # Among the facts and in the history.
        self.assertContains(page, first, count=2)
        self.assertContains(page, new, count=2)

    def test_refuses_what_is_no_time_or_has_passed(self):
        withdrawal = self.due_withdrawal(10)
        for wrong in ("", "soon", "2030-06-31T12:30", "9999-99-99T00:00"):
            with self.subTest(wrong=wrong):
                self.assertEqual(
                    self.press("reschedule", withdrawal.pk, scheduled_for=wrong), ""
                )
        for wrong, why in (
            ("2020-06-01T12:30", "must be in the future"),
            ("2999-06-01T12:30", "must be within"),
        ):
            said = self.press("reschedule", withdrawal.pk, scheduled_for=wrong)
            self.assertIn("Nothing was changed", said)
            self.assertIn(why, said)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.version, 0)

    def test_shows_a_message_when_it_is_too_late(self):
        self.deposit(100)
        withdrawal = self.execute(10)
        said = self.press("reschedule", withdrawal.pk, scheduled_for="2030-06-01T12:30")
        self.assertEqual(said, "Nothing was changed: the withdrawal is “Paid” by now.")


class RetryTest(ActionTestCase):
    def test_makes_the_next_attempt_due(self):
        self.deposit(100)
        withdrawal = self.execute(10, Does.REFUSE)
        said = self.press("retry", withdrawal.pk)

        self.assertIn("due now", said)
        self.assertEqual(self.last_actor(withdrawal), OSCAR)
        done = WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        self.assertEqual(done.status, Status.COMPLETED)

    def test_shows_a_message_when_there_is_nothing_to_retry(self):
        said = self.press("retry", self.due_withdrawal(10).pk)
        self.assertIn("“Scheduled” by now", said)


class ResolveTest(ActionTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.withdrawal_in_review(400)

    def test_shows_the_reference_on_its_page(self):
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

    def test_requires_evidence(self):
        for evidence in ("", "   ", "x" * 2001):
            with self.subTest(length=len(evidence)):
                self.press("resolve", self.withdrawal.pk, "paid", evidence=evidence)
                self.withdrawal.refresh_from_db()
                self.assertTrue(self.withdrawal.needs_review)

    def test_concludes_once(self):
        self.press("resolve", self.withdrawal.pk, "not-paid", evidence="first")
        said = self.press("resolve", self.withdrawal.pk, "paid", evidence="second")

        self.assertIn("Nothing was changed", said)
        self.assert_money(self.alice, balance=1000)
        alarm = Alarm.objects.get(kind=Alarm.Kind.PAID_AFTER_RELEASE)
        self.assertIn("second", alarm.detail)

    def test_is_logged_with_the_user_and_the_address(self):
        """The log has id and address of who resolved it, and of who was too late."""
        with self.assertLogs("wallets.utils.deeds", "INFO") as logs:
            self.press("resolve", self.withdrawal.pk, "not-paid", evidence="first")
            self.press("resolve", self.withdrawal.pk, "paid", evidence="second")
        told = [(r.getMessage(), r.levelname) for r in logs.records]
        self.assertEqual(
            told,
            [
                ("operator: resolve not-paid", "INFO"),
                ("operator, refused: resolve paid", "WARNING"),
            ],
        )
        for record in logs.records:
            self.assertEqual(
                (record.user_id, record.address, record.withdrawal_id),
                (self.oscar.pk, "127.0.0.1", self.withdrawal.pk),
            )

    def test_is_offered_in_the_queue_the_longest_waiting_first(self):
        page = self.client.get(reverse("console:review"))
        self.assertContains(page, self.withdrawal.attempts.get().reference)
        self.assertEqual(list(review.waiting()), [self.withdrawal])


@override_settings(REVIEW_TWO_PERSONS=True)
class TwoPersonsTest(ActionTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.withdrawal_in_review(400)

    def not_paid(self, evidence):
        return self.press("resolve", self.withdrawal.pk, "not-paid", evidence=evidence)

    def page(self, name, *args):
        return self.client.get(reverse(f"console:{name}", args=args))

    def test_says_that_another_person_must_confirm(self):
        words = "another person must confirm it"
        page = self.page("resolve", self.withdrawal.pk, "not-paid")
        self.assertContains(page, words)
        page = self.page("resolve", self.withdrawal.pk, "paid")
        self.assertNotContains(page, words)

    def test_shows_the_proposal_on_every_page_that_can_confirm_it(self):
        self.assertIn("another person must confirm", self.not_paid("letter 7"))
        for page in (
            self.page("review"),
            self.page("withdrawal", self.withdrawal.pk),
            self.page("resolve", self.withdrawal.pk, "not-paid"),
        ):
            self.assertContains(page, "letter 7")
            self.assertContains(page, f"by {OSCAR}")

    def test_requires_another_user(self):
        self.not_paid("letter 7")
        self.assertIn("Nothing was changed: You have", self.not_paid("letter 8"))
        self.assert_money(self.alice, balance=600, held=400)
        # A user with a new name is still the same person.
        User.objects.filter(pk=self.oscar.pk).update(username="oscar2")
        self.assertIn("Nothing was changed: You have", self.not_paid("letter 8"))
        self.client.force_login(staff("piet", "change_transaction"))
        self.assertIn("back in the wallet", self.not_paid("letter 9"))
        self.assert_money(self.alice, balance=1000)
        page = self.page("withdrawal", self.withdrawal.pk)
        self.assertContains(page, f"Proposed by {OSCAR}: letter 7")

    def test_refreshes_the_open_page_of_the_withdrawal(self):
        path = reverse("console:withdrawal", args=[self.withdrawal.pk])
        seen = self.client.get(path).context["life"].fingerprint
        self.not_paid("letter 7")
        answer = self.client.get(f"{path}?seen={seen}", headers={"HX-Request": "true"})
        self.assertEqual(answer.headers.get("HX-Refresh"), "true")


class RecordTest(ActionTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(1000)
        self.withdrawal = self.due_withdrawal(400)

    def reference(self, number=1):
        return reference_of(self.withdrawal, self.alice.uuid, number)

    def test_shows_the_references_on_its_page(self):
        path = reverse("console:record", args=[self.withdrawal.pk])
        page = self.client.get(path)
        for number in (1, 4):
            self.assertContains(page, self.reference(number))

    def test_records_what_the_bank_paid_and_who_said_so(self):
        said = self.press(
            "record",
            self.withdrawal.pk,
            reference=self.reference(2),
            paid_at="2026-01-31T12:00",
            evidence="statement 7",
        )
        self.assertIn("Recorded as paid", said)
        self.withdrawal.refresh_from_db()
        self.assertEqual(self.withdrawal.status, Status.COMPLETED)
        self.assertEqual(self.withdrawal.executed_at, utc(2026, 1, 31, 12))
        self.assert_money(self.alice, balance=600)
        row = self.withdrawal.transitions.last()
        self.assertEqual((row.actor, row.evidence), (OSCAR, "statement 7"))
        page = self.client.get(reverse("console:withdrawal", args=[self.withdrawal.pk]))
        self.assertContains(page, "recorded by an operator")

    def test_needs_no_reference_and_no_time(self):
        failed = self.execute(10, Does.REFUSE)
        self.press("record", failed.pk, evidence="statement 7")
        failed.refresh_from_db()
        self.assertEqual(failed.status, Status.COMPLETED)

    def test_requires_evidence_and_a_valid_reference(self):
        for data in (
            {"evidence": ""},
            {"evidence": "x", "reference": "nonsense"},
            {"evidence": "x", "paid_at": "yesterday"},
        ):
            with self.subTest(**data):
                self.press("record", self.withdrawal.pk, **data)
                self.withdrawal.refresh_from_db()
                self.assertEqual(self.withdrawal.status, Status.PENDING)

    def test_says_why_it_was_refused(self):
        other = self.due_withdrawal(1001)
        said = self.press("record", other.pk, evidence="x")
        self.assertIn("deposit what is missing", said)
        done = self.execute(10)
        said = self.press("record", done.pk, evidence="x")
        self.assertEqual(said, "Nothing was changed: the withdrawal is “Paid” by now.")
        known = done.attempts.get().reference
        said = self.press("record", self.withdrawal.pk, evidence="x", reference=known)
        self.assertIn("have this reference already", said)

    def test_is_offered_only_where_it_can_be_done(self):
        for withdrawal, offered in (
            (self.withdrawal, True),
            (self.execute(10, Does.REFUSE), True),
            (self.execute(10), False),
            (self.execute(10, Does.LOSE), False),
        ):
            page = self.client.get(reverse("console:withdrawal", args=[withdrawal.pk]))
            (self.assertContains if offered else self.assertNotContains)(
                page, "Paid already…"
            )


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

    def test_gets_404_for_an_unknown_id(self):
        answer = self.client.post(reverse("console:acknowledge", args=[10**17]))
        self.assertEqual(answer.status_code, 404)


class ForgeryTest(ActionTestCase):
    def test_is_refused_for_every_button(self):
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.oscar)
        withdrawal = self.due_withdrawal(10)
        for name, args in (
            ("cancel", [withdrawal.pk]),
            ("reschedule", [withdrawal.pk]),
            ("retry", [withdrawal.pk]),
            ("record", [withdrawal.pk]),
            ("resolve", [withdrawal.pk, "paid"]),
            ("acknowledge", [1]),
            ("logout", []),
        ):
            with self.subTest(name=name):
                answer = client.post(reverse(f"console:{name}", args=args))
                self.assertEqual(answer.status_code, 403)

    def test_is_refused_without_the_permission_to_act(self):
        self.client.force_login(self.olga)
        withdrawal = self.due_withdrawal(10)
        answer = self.client.post(reverse("console:cancel", args=[withdrawal.pk]))
        self.assertEqual(answer.status_code, 403)
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, Status.PENDING)


class ReturnTest(ActionTestCase):
    def setUp(self):
        super().setUp()
        self.deposit(100)
        self.paid = self.execute(60)
        self.told = {
            "amount": 55,
            "return_reference": "RET-2026-117",
            "reason": "the account\nis closed",
        }

    def test_asks_first(self):
        page = self.client.get(reverse("console:return", args=[self.paid.pk]))
        for part in ("The bank returned it?", self.paid.attempts.get().reference):
            self.assertContains(page, str(part))
        self.assertEqual(PaymentReturn.objects.count(), 0)

    def test_gives_the_money_back_and_records_who_and_why(self):
        with self.assertLogs("wallets.utils.deeds", "INFO"):
            said = self.press("return", self.paid.pk, **self.told)
        self.assertIn("back in the wallet", said)
        done = PaymentReturn.objects.get()
        self.assertEqual((done.actor, done.reason), (OSCAR, "the account is closed"))
        self.assert_money(self.alice, balance=95)

    def test_is_made_once_by_two_clicks(self):
        for _ in range(2):
            self.press("return", self.paid.pk, **self.told)
        said = self.press("return", self.paid.pk, **self.told | {"amount": 1})
        self.assertIn("Nothing was changed: The return of withdrawal", said)
        self.assert_money(self.alice, balance=95)

    def test_says_why_it_is_refused(self):
        said = self.press("return", self.paid.pk, **self.told | {"amount": 61})
        self.assertIn("The bank paid 60", said)
        said = self.press("return", self.due_withdrawal(1).pk, **self.told)
        self.assertIn("is PENDING", said)
        self.assertEqual(PaymentReturn.objects.count(), 0)

    def test_shows_what_is_wrong_with_the_form(self):
        path = reverse("console:return", args=[self.paid.pk])
        for wrong in ({"amount": "x"}, {"return_reference": ""}, {"reason": ""}):
            with self.subTest(wrong):
                answer = self.client.post(path, self.told | wrong)
                self.assertContains(answer, "note bad")
        self.assertEqual(PaymentReturn.objects.count(), 0)

    def test_is_offered_once_to_who_may_act(self):
        page = reverse("console:withdrawal", args=[self.paid.pk])
        offered = reverse("console:return", args=[self.paid.pk])
        self.assertContains(self.client.get(page), offered)
        waits = reverse("console:withdrawal", args=[self.due_withdrawal(1).pk])
        self.assertNotContains(self.client.get(waits), "The bank returned it")
        self.press("return", self.paid.pk, **self.told)
        shown = self.client.get(page)
        self.assertNotContains(shown, offered)
        self.assertContains(shown, "RET-2026-117")
        wallet = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertContains(wallet, f'of <a href="{page}">{self.paid.pk}</a>')
        wrong = reverse("console:correct", args=[PaymentReturn.objects.get().credit_id])
        self.assertContains(wallet, wrong)
        self.assertContains(self.client.get(wrong), "Correct this return?")

    def test_is_seen_by_who_may_see_returns(self):
        self.press("return", self.paid.pk, **self.told)
        page = reverse("console:withdrawal", args=[self.paid.pk])
        for permissions, sees in (
            (("view_transaction",), self.assertNotContains),
            (("view_transaction", "view_paymentreturn"), self.assertContains),
        ):
            self.client.force_login(staff(f"user{len(permissions)}", *permissions))
            sees(self.client.get(page), "RET-2026-117")

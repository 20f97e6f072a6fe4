"""The page that corrects a deposit or a transfer: one POST, recorded with the operator."""

from django.contrib.messages import get_messages
from django.urls import reverse

from console.tests.base import ConsoleTestCase
from wallets.models.correction import Correction
from wallets.models.wallet import Wallet
from wallets.services.transfers.transfer import transfer
from wallets.tests.base import OSCAR
from wallets.tests.raw import update


class CorrectionPageTest(ConsoleTestCase):
    def setUp(self):
        super().setUp()
        self.made = self.deposit(10_000)
        self.path = reverse("console:correct", args=[self.made.pk])

    def press(self, path=None, **data):
        """Send the page's POST; return the message on the next page."""
        data = {"amount": 9000, "reason": "typed wrongly", "number": 1} | data
        answer = self.client.post(path or self.path, data, follow=True)
        self.assertEqual(answer.status_code, 200)
        return " ".join(str(message) for message in get_messages(answer.wsgi_request))

    def test_asks_first_and_changes_nothing(self):
        page = self.client.get(self.path)
        self.assertContains(page, "Correct this deposit?")
        self.assertContains(page, str(self.alice.uuid))
        self.assertEqual(Correction.objects.count(), 0)

    def test_corrects_and_records_who_and_why(self):
        with self.assertLogs("wallets.utils.deeds", "INFO"):
            self.assertIn("posted", self.press())
        done = Correction.objects.get()
        self.assertEqual((done.actor, done.reason), (OSCAR, "typed wrongly"))
        self.assert_money(self.alice, balance=1000)

    def test_is_not_repeated_by_a_second_click(self):
        self.press()
        said = self.press(amount=1000)
        self.assertIn("another correction was faster", said)
        self.assert_money(self.alice, balance=1000)

    def test_says_why_it_is_refused(self):
        self.assertIn("left to correct", self.press(amount=10_001))
        transfer(self.alice.uuid, self.bob.uuid, 9_000)
        self.assertIn("Insufficient balance", self.press(amount=1_001))
        self.assertEqual(Correction.objects.count(), 0)

    def test_shows_what_is_wrong_with_the_form(self):
        for wrong in ({"amount": "x"}, {"amount": 0}, {"reason": ""}, {"number": ""}):
            data = {"amount": 1, "reason": "x", "number": 1} | wrong
            with self.subTest(wrong):
                answer = self.client.post(self.path, data)
                self.assertContains(answer, "note bad", status_code=400)
        answer = self.client.post(self.path, {"amount": 1, "reason": "\0", "number": 1})
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(Correction.objects.count(), 0)

    def test_is_not_for_a_withdrawal_or_an_unknown_id(self):
        for pk in (self.due_withdrawal(1).pk, 10**17):
            path = reverse("console:correct", args=[pk])
            self.assertEqual(self.client.get(path).status_code, 404)

    def test_is_linked_from_the_statement_for_who_may_act(self):
        wallet = reverse("console:wallet", args=[self.alice.uuid])
        self.assertContains(self.client.get(wallet), self.path)
        self.press()
        self.assertContains(self.client.get(wallet), f"of {self.made.pk}")
        self.client.force_login(self.olga)
        self.assertNotContains(self.client.get(wallet), self.path)

    def test_names_both_wallets_of_a_transfer(self):
        made = transfer(self.alice.uuid, self.bob.uuid, 60)
        path = reverse("console:correct", args=[made.debit_id])
        page = self.client.get(path)
        for part in ("Correct this transfer?", self.alice.uuid, self.bob.uuid):
            self.assertContains(page, str(part))
        self.press(path, amount=60)
        self.assert_money(self.bob, balance=0)


class TransferInStatementTest(ConsoleTestCase):
    def test_names_the_other_wallet(self):
        self.deposit(100)
        update(Wallet, self.bob.pk, {"reference": "<b>bob</b>"})
        transfer(self.alice.uuid, self.bob.uuid, 60)
        page = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertContains(page, reverse("console:wallet", args=[self.bob.uuid]))
        self.assertContains(page, "&lt;b&gt;bob&lt;/b&gt;")

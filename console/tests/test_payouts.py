"""The pause of payouts: the button, the banner on every page, the record."""

from datetime import timedelta

from django.core.cache import cache
from django.test import Client, override_settings
from django.urls import reverse

from console.tests.base import ConsoleTestCase
from wallets.models.pause import Pause
from wallets.services.operations import heartbeat, pause
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import OSCAR
from wallets.tests.builders import due_withdrawal
from wallets.tests.fakes import Does

REASON = "the bank pays twice, ticket 7"
BANNER = "Payouts are paused."


class PayoutsPageTest(ConsoleTestCase):
    def press(self, button, **data):
        return self.client.post(reverse(f"console:{button}"), data, follow=True)

    def test_pauses_with_a_reason_and_resumes(self):
        page = self.press("pause", reason=REASON)
        self.assertContains(page, BANNER)
        self.assertContains(page, REASON)
        self.assertTrue(pause.is_paused())
        row = Pause.objects.get()
        self.assertEqual((row.paused_by, row.reason), (OSCAR, REASON))

        self.assertContains(self.client.get("/console/payouts"), "Resume payouts")
        page = self.press("resume")
        self.assertContains(page, "Payouts go on.")
        self.assertNotContains(page, BANNER)
        self.assertFalse(pause.is_paused())
        row.refresh_from_db()
        self.assertEqual(row.resumed_by, OSCAR)
        self.assertContains(self.client.get("/console/payouts"), REASON)

    def test_requires_a_reason(self):
        for reason in ("", "  ", "x" * 501):
            answer = self.press("pause", reason=reason)
            self.assertEqual(answer.status_code, 400)
            self.assertFalse(pause.is_paused())

    def test_pauses_and_resumes_once(self):
        self.press("pause", reason=REASON)
        self.press("pause", reason="another")
        self.assertEqual(Pause.objects.get().reason, REASON)
        self.press("resume")
        self.assertContains(self.press("resume"), "Nothing was changed")

    @override_settings(WITHDRAWALS_PAUSED=True)
    def test_says_that_the_setting_is_stronger(self):
        self.assertContains(self.client.get("/console/payouts"), "WITHDRAWALS_PAUSED")
        self.assertContains(self.client.get("/console/review"), BANNER)
        self.press("pause", reason=REASON)
        self.assertContains(self.press("resume"), "WITHDRAWALS_PAUSED is still set")

    def test_lets_staff_look_and_only_operators_act(self):
        self.client.force_login(self.olga)
        page = self.client.get("/console/payouts")
        self.assertNotContains(page, '<button class="primary')
        for button in ("pause", "resume"):
            answer = self.client.post(reverse(f"console:{button}"), {"reason": "x"})
            self.assertEqual(answer.status_code, 403)
        self.assertNotContains(self.client.get("/console/"), "Pause payouts")
        self.assertFalse(pause.is_paused())

    def test_is_refused_without_a_login_or_a_token(self):
        forger = Client(enforce_csrf_checks=True)
        forger.force_login(self.oscar)
        for button in ("pause", "resume"):
            path = reverse(f"console:{button}")
            self.assertEqual(forger.post(path, {"reason": "x"}).status_code, 403)
            self.assertEqual(self.client.get(path).status_code, 405)
        self.client.logout()
        for button in ("pause", "resume"):
            path = reverse(f"console:{button}")
            self.assertEqual(self.client.post(path, {"reason": "x"}).status_code, 302)
        self.assertEqual(self.client.get("/console/payouts").status_code, 302)
        self.assertFalse(pause.is_paused())


class BannerTest(ConsoleTestCase):
    def pages(self):
        withdrawal = self.due_withdrawal(10)
        return [
            "/console/",
            "/console/payouts",
            "/console/withdrawals",
            f"/console/withdrawals/{withdrawal.pk}",
            f"/console/withdrawals/{withdrawal.pk}/cancel",
            f"/console/withdrawals/{withdrawal.pk}/record",
            f"/console/wallets/{self.alice.uuid}",
            "/console/review",
            "/console/alarms",
            "/console/nowhere",
        ]

    def test_is_on_every_page_while_it_lasts(self):
        pause.pause(reason=REASON, actor=OSCAR)
        for path in self.pages():
            with self.subTest(path=path):
                text = self.client.get(path).content.decode()
                self.assertIn(BANNER, text)
                self.assertIn(REASON, text)
        pause.resume(actor=OSCAR)
        for path in self.pages():
            self.assertNotIn(BANNER, self.client.get(path).content.decode())

    def test_comes_and_goes_on_a_page_that_refreshes(self):
        for expected in (False, True):
            part = self.client.get("/console/", headers={"HX-Request": "true"})
            text = part.content.decode()
            self.assertIn('hx-swap-oob="true"', text)
            self.assertEqual(BANNER in text, expected)
            pause.pause(reason=REASON, actor=OSCAR)

    def test_is_hidden_without_a_login(self):
        pause.pause(reason=REASON, actor=OSCAR)
        self.client.logout()
        self.assertNotContains(self.client.get("/console/login"), REASON)


class VerdictTest(ConsoleTestCase):
    """The page says "All is well" only if nothing is wrong."""

    def setUp(self):
        super().setUp()
        for name in ("pending", "retry", "resolve"):
            heartbeat.beat(name)

    def look(self):
        cache.clear()
        return self.client.get("/console/")

    def test_is_good_where_nothing_is_wrong(self):
        due_withdrawal(self.alice, 1, due=self.now + timedelta(hours=1))
        self.assertContains(self.look(), "All is well")

    def test_names_a_pause(self):
        pause.pause(reason=REASON, actor=OSCAR)
        page = self.look()
        self.assertNotContains(page, "All is well")
        self.assertContains(page, "payouts are paused</a>")
        pause.resume(actor=OSCAR)
        with override_settings(WITHDRAWALS_PAUSED=True):
            self.assertNotContains(self.look(), "All is well")
        self.assertContains(self.look(), "All is well")

    def test_names_payouts_that_are_late(self):
        due_withdrawal(self.alice, 1, due=self.after(-90))
        page = self.look()
        self.assertNotContains(page, "All is well")
        self.assertContains(page, "payouts are late, the oldest by 1 min")

    def test_names_retries_that_are_late(self):
        self.refused_withdrawal(1, at=self.after(-5 * 3600))
        page = self.look()
        self.assertNotContains(page, "All is well")
        self.assertContains(page, "retries are late, the oldest by 4 h 59 min")

    def test_promises_no_more_than_it_knows(self):
        """Below the limits it names them, and every call that got no answer."""
        due_withdrawal(self.alice, 1, due=self.after(-10))
        self.assertContains(self.look(), "No payout is more than 21.00 s late")
        self.assertContains(self.look(), "the bank was not called lately")
        self.deposit(100)
        self.execute(1, Does.LOSE)
        self.assertContains(self.look(), "All is well")
        self.assertContains(self.look(), "the bank gave no answer to 1 of the last 1")

    def test_names_a_bank_that_loses_answers(self):
        self.deposit(100)
        for does in 7 * [Does.LOSE] + [Does.PAY]:
            self.bank.script.append(does)
            WithdrawalService.execute(self.due_withdrawal(1).pk, bank=self.bank)
        page = self.look()
        self.assertNotContains(page, "All is well")
        self.assertContains(page, "the bank gave no answer to 7 of the last 8 calls")

    def test_names_a_bank_that_answers_nobody_in_a_quiet_hour(self):
        self.deposit(100)
        for _ in range(2):
            self.execute(1, Does.LOSE)
        page = self.look()
        self.assertNotContains(page, "All is well")
        self.assertContains(page, "the bank gave no answer to 2 of the last 2 calls")

"""The operators' console and the API's documentation, in a real browser."""

from datetime import timedelta
from io import StringIO

from django.core.management import call_command

from console.tests.browser import PHONE, BrowserTestCase
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.operations import pause
from wallets.services.payouts import resolver, sweeps
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.conformance import operations
from wallets.tests.fakes import BARE, Does, FakeBank
from wallets.utils.database.transactions import database_now

Status = Transaction.Status


def expect(locator):
    from playwright.sync_api import expect as expect_

    return expect_(locator)


@marks.slow
class DocsBrowserTest(BrowserTestCase):
    def test_shows_every_operation_and_tries_one(self):
        page = self.open(log_in=False)
        page.goto("/api/docs/")
        expect(page.get_by_role("heading", name="Wallet Service")).to_be_visible()
        expect(page.locator(".opblock")).to_have_count(len(operations()))
        self.picture(page, "api-docs")
        before = Wallet.objects.count()

        page.locator("#operations-Wallets-create_wallet button").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()

        answer = page.locator(".live-responses-table .response-col_status").nth(1)
        expect(answer).to_contain_text("201")
        self.assertEqual(Wallet.objects.count(), before + 1)

    def test_fits_a_phone(self):
        page = self.open(log_in=False, size=PHONE)
        for path in ("/api/docs/", "/problems/"):
            page.goto(path)
            page.get_by_role("heading").first.wait_for()
            wide, seen = page.evaluate(
                "[document.documentElement.scrollWidth, innerWidth]"
            )
            self.assertLessEqual(wide, seen)


@marks.slow
class ConsoleBrowserTest(BrowserTestCase):
    def withdrawal_in_review(self):
        self.deposit(1000)
        self.bank.script.append(Does.LOSE)
        withdrawal = self.due_withdrawal(400)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        resolver.resolve_due(bank=FakeBank(BARE), limit=1, now=self.after(60))
        return withdrawal

    def test_shows_a_withdrawal_go_from_scheduled_to_paid(self):
        self.deposit(100_000)
        due = database_now() + timedelta(seconds=10)
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 25_000, due)
        page = self.open()
        page.goto(f"/console/withdrawals/{withdrawal.pk}")
        badge = page.get_by_role("heading", level=1).locator(".badge")
        expect(badge).to_have_text("Scheduled")
        self.picture(page, "scheduled")

        sweeps.pay_pending(bank=self.bank, seconds=60)

        expect(badge).to_have_text("Paid")  # the page has refreshed itself
        expect(page.get_by_text("Settle", exact=False).first).to_be_visible()
        self.assertEqual([payment.amount for payment in self.bank.paid], [25_000])
        self.picture(page, "paid", whole=True)

    def test_resolves_a_withdrawal_in_review(self):
        withdrawal = self.withdrawal_in_review()
        page = self.open()
        expect(page.get_by_text("Needs attention")).to_be_visible()
        page.get_by_role("link", name="1 in review", exact=True).click()
        expect(
            page.get_by_text(str(withdrawal.attempts.get().reference))
        ).to_be_visible()
        page.get_by_role("link", name="The bank did not pay…").click()
        page.get_by_label("Evidence").fill("Mrs Smith, bank hotline, 14:05")
        self.picture(page, "resolve")

        page.get_by_role("button", name="Resolve as not paid").click()

        expect(page.get_by_text("the money is back in the wallet")).to_be_visible()
        withdrawal.refresh_from_db()
        self.assertTrue(withdrawal.final)
        self.assert_money(self.alice, balance=1000)
        self.assertEqual(withdrawal.transitions.last().actor, "operator oscar")
        page.goto("/console/review")
        expect(page.get_by_text("Nothing to review")).to_be_visible()

    def test_pauses_payouts_and_resumes_them(self):
        page, other = self.open(), self.open(size=PHONE)
        banner = "Payouts are paused."
        expect(other.get_by_text(banner)).to_be_hidden()
        page.get_by_role("link", name="Pause payouts…").click()
        page.get_by_label("Reason").fill("The bank pays twice: ticket 4711")
        self.picture(page, "pause")
        page.get_by_role("button", name="Pause payouts").click()

        expect(page.get_by_text(banner)).to_be_visible()
        expect(page.get_by_text("payouts are paused", exact=True)).to_be_visible()
        expect(other.get_by_text(banner)).to_be_visible()  # a page that was open
        self.assertTrue(pause.is_paused())
        self.picture(page, "paused-overview")
        self.picture(other, "paused-phone")
        page.goto("/console/withdrawals")
        page.get_by_role("link", name="Resume…").click()
        self.picture(page, "resume")
        page.get_by_role("button", name="Resume payouts").click()

        expect(page.get_by_text("Payouts go on.")).to_be_visible()
        expect(page.get_by_text(banner)).to_be_hidden()
        expect(other.get_by_text(banner)).to_be_hidden()

    def test_records_what_the_bank_paid_and_the_books_forgot(self):
        self.deposit(1000)
        withdrawal = self.due_withdrawal(400)
        page = self.open()
        page.goto(f"/console/withdrawals/{withdrawal.pk}")
        page.get_by_role("link", name="Paid already…").click()
        reference = page.locator(".facts .code").nth(1).inner_text()
        page.get_by_label("Reference on the bank's list").fill(reference)
        page.get_by_label("Paid at").fill("2026-01-31T12:00")
        page.get_by_label("Evidence").fill("Statement of 31 January, line 14")
        self.picture(page, "record", whole=True)
        page.get_by_role("button", name="Record as paid").click()

        expect(page.get_by_text("Recorded as paid:")).to_be_visible()
        self.picture(page, "recorded", whole=True)
        self.assert_money(self.alice, balance=600)
        self.assertEqual(self.bank.requests, [])

    def test_works_with_the_keyboard_alone(self):
        withdrawal = WithdrawalService.schedule(self.alice.uuid, 5, self.after(3600))
        page = self.open(log_in=False)
        page.goto(f"/console/withdrawals/{withdrawal.pk}")
        page.keyboard.type("oscar")  # the field of the name has the focus
        page.keyboard.press("Tab")
        page.keyboard.type("correct horse battery staple")
        page.keyboard.press("Enter")
        page.get_by_role("heading", level=1).locator(".badge").wait_for()
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        self.tab_to(page, "Cancel…")
        page.keyboard.press("Enter")
        self.tab_to(page, "Cancel the withdrawal")
        page.keyboard.press("Enter")

        expect(page.get_by_text("The withdrawal is cancelled")).to_be_visible()
        withdrawal.refresh_from_db()
        self.assertEqual(withdrawal.status, Status.CANCELLED)

    def tab_to(self, page, words):
        """Press Tab until the element with this text has the focus."""
        page.get_by_text(words).wait_for()
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip() == words:
                return
        self.fail(f"no Tab leads to {words}")

    def test_says_when_the_server_is_silent_and_when_it_is_back(self):
        self.expected_complaints = ("ERR_FAILED", "htmx:")
        page = self.open()
        banner = page.get_by_text("The server does not answer")
        expect(banner).to_be_hidden()
        page.route("**/console/", lambda route: route.abort())
        expect(banner).to_be_visible()
        page.unroute("**/console/")
        expect(banner).to_be_hidden()

    def test_keeps_the_focus_when_the_figures_refresh(self):
        page = self.open()
        link = page.locator("#t-flight")
        link.focus()
        with page.expect_response(lambda answer: answer.url.endswith("/console/")):
            pass
        page.wait_for_timeout(200)
        expect(link).to_be_focused()

    def test_fits_every_screen_in_the_light_and_in_the_dark(self):
        call_command(
            "demo",
            "--wallets=12",
            "--withdrawals=150",
            stdout=StringIO(),
            stderr=StringIO(),
        )
        long = "a reference that is as long as one can be " * 7
        WalletService.change(self.alice.uuid, {"reference": long[:255].strip()})
        WalletService.create(reference="customer-17", tenant="acme", currency="KWD")
        self.withdrawal_in_review()
        pause.pause(reason="The bank pays twice: ticket 4711", actor="operator oscar")
        paid = Transaction.objects.filter(
            status=Status.COMPLETED, retry_count=1
        ).first()
        paid = paid or Transaction.objects.filter(status=Status.COMPLETED).last()
        pages = {
            "overview": "/console/",
            "withdrawals": "/console/withdrawals?status=COMPLETED",
            "withdrawal": f"/console/withdrawals/{paid.pk}",
            "wallets": "/console/wallets",
            "wallets-refused": f"/console/wallets?state=active&find={'x' * 256}",
            "wallet": f"/console/wallets/{paid.wallet.uuid}",
            "review": "/console/review",
            "alarms": "/console/alarms",
            "payouts": "/console/payouts",
            "record": f"/console/withdrawals/{self.due_withdrawal(5).pk}/record",
        }
        for look, options in (
            ("light", {}),
            ("dark", {"dark": True}),
            ("phone", {"size": PHONE}),
        ):
            page = self.open(**options)
            for name, path in pages.items():
                with self.subTest(look=look, page=name):
                    self.assertEqual(page.goto(path).status, 200)
                    wide, seen = page.evaluate(
                        "[document.documentElement.scrollWidth, innerWidth]"
                    )
                    self.assertLessEqual(wide, seen)
                    self.picture(page, f"{name}-{look}")
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            self.assertEqual(colour == "rgb(13, 17, 23)", look == "dark", colour)

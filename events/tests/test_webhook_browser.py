"""The pages of webhooks in a real browser."""

from __future__ import annotations

from console.tests.browser import PHONE, BrowserTestCase
from console.tests.test_browser import expect
from events.tests.webhooks import BROKEN, Webhooks
from events.utils.webhook_client import Reply
from wallets.tests import marks


@marks.slow
class WebhookBrowserTest(Webhooks, BrowserTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.endpoint(
            "http://127.0.0.1:8020/hooks/wallet", description="Shop, Büro Berlin"
        )
        other = "http://127.0.0.1:8021/events"
        self.endpoint(other, types=["deposit.completed"])
        self.client_.answers[other] = BROKEN
        self.pay_in(12_500, 3_000, 990)
        self.deliver()

    def test_sends_a_test_event_and_shows_its_answer(self):
        page = self.open()
        page.get_by_role("link", name="Webhooks").click()
        page.get_by_role("link", name="127.0.0.1:8020").click()
        expect(page.get_by_text("Shop, Büro Berlin")).to_be_visible()
        page.get_by_role("button", name="Send a test event").click()
        expect(page.get_by_text("A test event is on its way.")).to_be_visible()
        badge = page.get_by_role("heading", level=1).locator(".badge")
        expect(badge).to_have_text("Waiting")

        self.client_.answers["http://127.0.0.1:8020/hooks/wallet"] = Reply(
            200, '{"received": true}'
        )
        self.deliver()

        expect(badge).to_have_text("Delivered")  # the page has refreshed itself
        expect(page.locator("pre", has_text='{"received": true}')).to_be_visible()
        self.picture(page, "webhook-test", whole=True)
        page.get_by_role("button", name="Send again").click()
        expect(page.get_by_text("with the same id")).to_be_visible()

    def test_switches_off_and_on(self):
        page = self.open()
        page.goto(f"/console/webhooks/{self.made.endpoint.uuid}")
        page.get_by_role("button", name="Switch off").click()
        expect(page.get_by_text("It keeps its place.")).to_be_visible()
        page.get_by_role("button", name="Switch on").click()
        expect(page.get_by_text("goes on where it stopped")).to_be_visible()

    def test_fits_every_screen_in_the_light_and_in_the_dark(self):
        webhook = f"/console/webhooks/{self.made.endpoint.uuid}"
        for look, options in (
            ("light", {}),
            ("dark", {"dark": True}),
            ("phone", {"size": PHONE}),
        ):
            page = self.open(**options)
            for name, path in (
                ("webhooks", "/console/webhooks"),
                ("webhook", webhook),
                ("delivery", f"{webhook}/deliveries/1"),
            ):
                with self.subTest(look=look, page=name):
                    self.assertEqual(page.goto(path).status, 200)
                    wide, seen = page.evaluate(
                        "[document.documentElement.scrollWidth, innerWidth]"
                    )
                    self.assertLessEqual(wide, seen)
                    self.picture(page, f"{name}-{look}", whole=True)

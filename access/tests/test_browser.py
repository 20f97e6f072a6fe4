"""The pages of keys in a real browser."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User

from access.services import keys
from access.tests.access import ACTOR, Keys
from console.tests.browser import PHONE, BrowserTestCase
from console.tests.test_browser import expect
from wallets.tests import marks


@marks.slow
class KeyBrowserTest(Keys, BrowserTestCase):
    def setUp(self) -> None:
        super().setUp()
        ours = Permission.objects.filter(content_type__model="apikey")
        User.objects.get(username="oscar").user_permissions.add(*ours)

    def test_makes_rotates_and_revokes_a_key(self) -> None:
        page = self.open()
        page.get_by_role("link", name="Keys").click()
        page.get_by_role("link", name="New key").click()
        page.get_by_label("Name").fill("shop")
        page.get_by_role("checkbox", name="deposits:write").check()
        self.picture(page, "key-new", whole=True)
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("The secret of shop")
        expect(page.locator("#secret")).to_contain_text("wk_")
        self.picture(page, "key-secret", whole=True)
        page.get_by_role("link", name="I have stored it").click()
        page.get_by_role("link", name="Rotate").click()
        page.get_by_role("button", name="Rotate the key").click()
        expect(page.locator("#secret")).to_contain_text("wk_")
        page.get_by_role("link", name="I have stored it").click()
        page.get_by_role("link", name="Revoke").click()
        page.get_by_label("Reason").fill("leaked, ticket 7")
        page.get_by_role("button", name="Revoke the key").click()
        expect(page.get_by_text("In five seconds nobody takes it.")).to_be_visible()
        self.picture(page, "key-revoked", whole=True)

    def test_fits_every_screen_in_the_light_and_in_the_dark(self) -> None:
        made = self.key("mobile-app", "wallets:read", "deposits:write", tenant="acme")
        self.key("back-office")
        keys.rotate("back-office", overlap=3600, actor=ACTOR)
        self.key("old-shop", "webhooks:read", "webhooks:write", "events:read")
        keys.revoke("old-shop", reason="The shop was closed.", actor="operator olga")
        shown = f"/console/keys/{made.key.prefix}"
        for look, options in (
            ("light", {}),
            ("dark", {"dark": True}),
            ("phone", {"size": PHONE}),
        ):
            page = self.open(**options)
            for name, path in (
                ("keys", "/console/keys"),
                ("key", shown),
                ("key-new", "/console/keys/new"),
                ("key-rotate", f"{shown}/rotate"),
                ("key-revoke", f"{shown}/revoke"),
            ):
                with self.subTest(look=look, page=name):
                    self.assertEqual(page.goto(path).status, 200)
                    wide, seen = page.evaluate(
                        "[document.documentElement.scrollWidth, innerWidth]"
                    )
                    self.assertLessEqual(wide, seen)
                    self.picture(page, f"{name}-{look}", whole=True)

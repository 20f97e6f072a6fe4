"""The console's pages of keys."""

from __future__ import annotations

import re

from access.models.api_key import ApiKey
from access.models.key_event import KeyEvent
from access.services import keys
from access.tests.access import ACTOR, Keys
from access.utils import secret
from console.tests.base import ConsoleTestCase, staff

PAGES = "/console/keys"
MAY = ("access.view_apikey", "access.add_apikey", "access.change_apikey")
NEW = {"name": "shop", "scopes": ["deposits:write", "wallets:read"], "rate": "50"}


class PageTest(Keys, ConsoleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.kim = staff("kim", *MAY)
        self.client.force_login(self.kim)

    def secret_on(self, answer) -> str:
        text = answer.content.decode()
        (found,) = re.findall(r'<pre id="secret">(\S+)</pre>', text)
        return found

    def works(self, text: str) -> bool:
        self.live.refresh()
        return self.live.find(secret.digest_of(text)) is not None

    def test_makes_a_key_and_shows_its_secret_once(self) -> None:
        self.assertEqual(self.client.get(f"{PAGES}/new").status_code, 200)
        answer = self.client.post(f"{PAGES}/new", NEW)
        shown = self.secret_on(answer)
        self.assertIn("no-store", answer.headers["Cache-Control"])
        self.assertTrue(self.works(shown))
        made = ApiKey.objects.get()
        self.assertEqual(
            (made.created_by, made.scopes, made.rate),
            ("operator kim", ["deposits:write", "wallets:read"], 50),
        )
        for path in (PAGES, f"{PAGES}/{made.prefix}"):
            page = self.client.get(path)
            self.assertContains(page, made.prefix)
            self.assertNotContains(page, shown[12:])

    def test_makes_no_second_key_when_the_form_is_sent_again(self) -> None:
        self.client.post(f"{PAGES}/new", NEW)
        again = self.client.post(f"{PAGES}/new", NEW)
        self.assertContains(again, "There is a key shop", status_code=400)
        self.assertEqual(ApiKey.objects.count(), 1)

    def test_says_which_names_it_takes(self) -> None:
        """Those of the hint are taken, and no others."""
        hint = (
            "1 to 63 lower-case letters, digits, dots, hyphens and underscores, the first "
            "one a letter or a digit"
        )
        self.assertContains(self.client.get(f"{PAGES}/new"), hint)
        for name, taken in (
            ("a_b-c.9", True),
            ("9_", True),
            ("x" * 63, True),
            ("_a", False),
            (".a", False),
            ("-a", False),
            ("A", False),
            ("a b", False),
            ("x" * 64, False),
        ):
            with self.subTest(name):
                answer = self.client.post(f"{PAGES}/new", NEW | {"name": name})
                self.assertEqual(answer.status_code, 200 if taken else 400)
                if not taken:
                    self.assertContains(answer, hint, status_code=400)

    def test_says_what_is_wrong_with_a_form(self) -> None:
        for changed, text in (
            ({"name": "operator oscar"}, "lower-case letters"),
            ({"name": ""}, "required"),
            ({"scopes": []}, "required"),
            ({"scopes": ["all"]}, "all is not one of the available choices"),
            ({"rate": "0"}, "greater than or equal to 1"),
            ({"tenant": "a b"}, "A tenant has at most"),
            ({"expires_at": "2001-01-01T00:00"}, "which is not in the future"),
        ):
            with self.subTest(**changed):
                answer = self.client.post(f"{PAGES}/new", NEW | changed)
                self.assertContains(answer, text, status_code=400)
        self.assertFalse(ApiKey.objects.exists())

    def test_rotates_the_key_that_it_shows_once(self) -> None:
        old = self.key()
        page = f"{PAGES}/{old.key.prefix}/rotate"
        self.assertEqual(self.client.get(page).status_code, 200)
        new = self.secret_on(self.client.post(page, {"overlap": "60"}))
        self.assertTrue(self.works(new))
        self.assertTrue(self.works(old.secret))
        again = self.client.post(page, {"overlap": "60"})
        self.assertContains(again, "Look at it again", status_code=400)
        self.assertEqual(ApiKey.objects.count(), 2)

    def test_revokes_with_a_reason(self) -> None:
        made = self.key()
        page = f"{PAGES}/{made.key.prefix}/revoke"
        self.assertEqual(self.client.get(page).status_code, 200)
        self.assertEqual(self.client.post(page, {"reason": ""}).status_code, 400)
        answer = self.client.post(page, {"reason": "leaked <b>"}, follow=True)
        self.assertContains(answer, "In five seconds nobody takes it.")
        self.assertContains(answer, "leaked &lt;b&gt;")
        self.assertFalse(self.works(made.secret))
        (event,) = KeyEvent.objects.filter(kind="revoked")
        self.assertEqual(event.actor, "operator kim")

    def test_needs_the_permissions_of_keys(self) -> None:
        """With a key for everything an operator could deposit, alone and unlimited."""
        made = self.key()
        shown = f"{PAGES}/{made.key.prefix}"
        forms = {
            "access.add_apikey": {f"{PAGES}/new": NEW},
            "access.change_apikey": {
                f"{shown}/rotate": {"overlap": "60"},
                f"{shown}/revoke": {"reason": "leaked"},
            },
        }
        for needed, pages in forms.items():
            others = [one for one in MAY if one != needed]
            self.client.force_login(staff(needed, "change_transaction", *others))
            for path, form in pages.items():
                for answer in (self.client.get(path), self.client.post(path, form)):
                    self.assertContains(answer, needed, status_code=403)
        self.client.force_login(self.oscar)
        for page in (PAGES, shown):
            text = self.client.get(page).content.decode()
            for button in ("/new", "/rotate", "/revoke"):
                self.assertNotIn(f'{button}"', text)
        self.assertEqual(KeyEvent.objects.count(), 1)

    def test_acts_for_operators_only(self) -> None:
        made = self.key()
        shown = f"{PAGES}/{made.key.prefix}"
        pages = (f"{PAGES}/new", f"{shown}/rotate", f"{shown}/revoke")
        self.client.force_login(self.olga)
        self.assertEqual(self.client.get(PAGES).status_code, 403)
        for path in pages:
            for method in (self.client.get, self.client.post):
                with self.subTest(path):
                    self.assertEqual(method(path).status_code, 403)
        self.client.force_login(staff("nobody"))
        self.assertEqual(self.client.get(shown).status_code, 403)
        self.client.logout()
        self.assertEqual(self.client.get(PAGES).status_code, 302)
        self.assertEqual(KeyEvent.objects.count(), 1)

    def test_has_no_page_of_a_key_that_is_not_there(self) -> None:
        for path in (f"{PAGES}/wk_12345678", f"{PAGES}/x", f"{PAGES}/x/revoke"):
            with self.subTest(path):
                self.assertEqual(self.client.get(path).status_code, 404)

    def test_shows_each_state(self) -> None:
        self.key("works")
        self.key("rotated")
        keys.rotate("rotated", overlap=60, actor=ACTOR)
        self.key("revoked")
        keys.revoke("revoked", reason="x", actor=ACTOR)
        text = self.client.get(PAGES).content.decode()
        for state in ("Works", "Rotated", "Revoked"):
            self.assertIn(f">{state}</span>", text)

    def test_is_linked_from_the_navigation(self) -> None:
        self.client.force_login(self.oscar)
        self.assertContains(self.client.get("/console/"), f'href="{PAGES}"')

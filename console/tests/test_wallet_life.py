"""The buttons of a wallet's page: freeze, unfreeze, close."""

from __future__ import annotations

import uuid

from django.contrib.messages import get_messages
from django.urls import reverse

from console.tests.base import ConsoleTestCase
from wallets.models.wallet_change import WalletChange
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.tests.base import OSCAR
from wallets.utils.caller import Caller


class WalletLifeTest(ConsoleTestCase):
    def url(self, deed: str) -> str:
        return reverse("console:wallet_life", args=[self.alice.uuid, deed])

    def press(self, deed: str, **data: str) -> str:
        """Send the button's POST; return the message on the next page."""
        answer = self.client.post(self.url(deed), data, follow=True)
        self.assertEqual(answer.status_code, 200, answer.content)
        return " ".join(str(message) for message in get_messages(answer.wsgi_request))

    def state(self) -> str:
        self.alice.refresh_from_db()
        return self.alice.state

    def test_asks_first(self):
        for deed in ("freeze", "unfreeze", "close"):
            page = self.client.get(self.url(deed))
            self.assertContains(page, "this wallet")
        self.assertEqual(self.state(), "active")

    def test_does_it_and_records_who_and_why(self):
        for deed, data, state in (
            ("freeze", {"direction": "in"}, "frozen_in"),
            ("unfreeze", {"direction": "both"}, "active"),
            ("close", {}, "closed"),
        ):
            self.press(deed, reason="a <b>letter</b>", **data)
            self.assertEqual(self.state(), state)
            change = WalletChange.objects.latest("sequence")
            self.assertEqual((change.actor, change.reason), (OSCAR, "a <b>letter</b>"))
        page = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertContains(page, "a &lt;b&gt;letter&lt;/b&gt;")
        self.assertNotContains(page, "Freeze…")

    def test_shows_the_tenant_and_who_asked_for_each_movement(self):
        made = WalletService.create(tenant="acme <b>", actor="key <1>")
        url = reverse("console:wallet", args=[made.uuid])
        WalletService.deposit(made.uuid, 5, caller=Caller("key <7>", "acme <b>"))
        page = self.client.get(url)
        self.assertContains(page, "acme &lt;b&gt;")
        self.assertContains(page, "by key &lt;7&gt;")
        self.assertContains(page, "by key &lt;1&gt;")
        other = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertNotContains(other, "Tenant")

    def test_shows_a_refusal(self):
        self.deposit(5)
        said = self.press("close", reason="gone")
        self.assertIn("Nothing was changed", said)
        self.assertEqual(self.state(), "active")

    def test_refuses_an_answer_that_is_none(self):
        for data in (
            {},
            {"reason": "x"},
            {"reason": "x", "direction": "up"},
            {"reason": "x" * 501, "direction": "in"},
            {"reason": "", "direction": "in"},
        ):
            answer = self.client.post(self.url("freeze"), data)
            self.assertEqual(answer.status_code, 400, data)
        self.assertIn(
            "Nothing was changed", self.press("freeze", reason="\u202e", direction="in")
        )
        self.assertEqual(self.state(), "active")

    def test_gets_404_for_an_unknown_wallet_or_deed(self):
        for path in (
            reverse("console:wallet_life", args=[uuid.uuid4(), "close"]),
            self.url("close").replace("close", "melt"),
        ):
            self.assertEqual(self.client.get(path).status_code, 404)

    def test_is_not_for_those_who_may_only_look(self):
        self.client.force_login(self.olga)
        page = self.client.get(reverse("console:wallet", args=[self.alice.uuid]))
        self.assertNotContains(page, "Freeze…")
        for method in (self.client.get, self.client.post):
            self.assertEqual(method(self.url("freeze")).status_code, 403)

    def test_shows_name_currency_and_life(self):
        wallet = WalletService.create(
            reference="customer 7", currency="EUR", metadata={"plan": "<gold>"}
        )
        life.freeze(wallet.uuid, "out", reason="why", actor=OSCAR)
        page = self.client.get(reverse("console:wallet", args=[wallet.uuid]))
        for text in ("customer 7", "EUR", "&lt;gold&gt;", "Frozen out", "Unfreeze…"):
            self.assertContains(page, text)

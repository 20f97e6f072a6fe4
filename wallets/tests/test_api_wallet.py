"""Wallets over HTTP."""

from __future__ import annotations

import re
import uuid

from wallets.models.wallet import Wallet
from wallets.tests.api import Api, nothing_written
from wallets.tests.base import WalletTestCase

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


class WalletApiTest(Api, WalletTestCase):
    def test_creates_an_empty_wallet(self) -> None:
        response = self.post("/wallets/")
        self.assertEqual(response.status_code, 201)
        wallet = response.json()
        self.assertEqual(list(wallet), ["uuid", "balance", "created_at"])
        self.assertEqual(wallet["balance"], 0)
        self.assertRegex(wallet["created_at"], TIME)
        self.assertTrue(Wallet.objects.filter(uuid=wallet["uuid"], balance=0).exists())

    def test_says_where_the_new_wallet_is(self) -> None:
        response = self.post("/wallets/")
        location = response.headers["Location"]
        self.assertEqual(
            location, f"http://testserver/wallets/{response.json()['uuid']}/"
        )
        self.assertEqual(self.get(location).content, response.content)

    def test_creates_without_a_body_with_and_without_a_content_type(self) -> None:
        """Row 16 of the bad inputs."""
        for body, content_type in [
            (b"", ""),
            (b"", "application/json"),
            (b"", "application/x-www-form-urlencoded"),
            (b"{}", "application/json"),
        ]:
            with self.subTest(body=body, content_type=content_type):
                response = self.post("/wallets/", body, content_type=content_type)
                self.assertEqual(response.status_code, 201)

    def test_takes_no_field_on_creation(self) -> None:
        with nothing_written():
            response = self.post("/wallets/", {"balance": 5})
        self.assert_problem(response, 400, "unknown_field", "balance")

    def test_ignores_a_key_on_creation(self) -> None:
        key = uuid.uuid4()
        first, second = (self.post("/wallets/", key=key).json() for _ in range(2))
        self.assertNotEqual(first["uuid"], second["uuid"])

    def test_shows_a_wallet_with_its_balance(self) -> None:
        self.deposit(700)
        response = self.get(self.path())
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json()["uuid"], str(self.alice.uuid))
        self.assertEqual(response.json()["balance"], 700)
        self.assertEqual(response.headers["Cache-Control"], "no-store")

    def test_answers_404_for_an_unknown_wallet(self) -> None:
        response = self.get(f"/wallets/{uuid.uuid4()}/")
        self.assert_problem(response, 404, "wallet_not_found")

    def test_lists_its_methods_on_options(self) -> None:
        response = self.call("OPTIONS", self.path())
        self.assertEqual((response.status_code, response.content), (204, b""))
        self.assertEqual(response.headers["Allow"], "GET, HEAD, OPTIONS")

"""Every column can store every UUID that the API accepts, on every engine.

MariaDB's own type refuses a quarter of them: version 8 to f with a variant below 8.
"""

from __future__ import annotations

import json
import uuid

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import FUTURE, Api, item
from wallets.tests.base import WalletTestCase

DIGITS = "0123456789abcdef"
# Each version with each variant, at their places in the text.
ALL = [
    uuid.UUID(f"11111111-1111-{version}111-{variant}111-111111111111")
    for version in DIGITS
    for variant in DIGITS
]
HOSTILE = [
    uuid.UUID("11111111-1111-8111-0111-111111111111"),
    uuid.UUID("ffffffff-ffff-ffff-7fff-ffffffffffff"),
    uuid.UUID(int=0),
    uuid.UUID(int=2**128 - 1),
    uuid.UUID("00000000-0000-f000-0000-000000000001"),
]


class UUIDTest(Api, WalletTestCase):
    @marks.slow
    def test_of_any_version_and_variant_is_a_key_in_bulk(self) -> None:
        items = [item(self.alice, 1, key) for key in ALL]
        for expected in ("done", "replayed"):
            response = self.post("/deposits/", json.dumps(items))
            self.assertEqual(response.status_code, 200, response.content)
            results = {line.get("result", "problem") for line in response.json()}
            self.assertEqual(results, {expected})
        self.assert_money(self.alice, balance=len(ALL))
        stored = Transaction.objects.values_list("idempotency_key", flat=True)
        self.assertEqual(set(stored), set(ALL))

    def test_is_the_key_of_a_deposit_and_of_a_withdrawal(self) -> None:
        for key in HOSTILE:
            other = uuid.UUID(int=key.int ^ 2)
            bodies = {
                "deposit": ({"amount": 1}, key),
                "withdraw": ({"amount": 1, "scheduled_for": FUTURE}, other),
            }
            for name, (body, key) in bodies.items():
                with self.subTest(name, key=key):
                    first = self.post(self.path(name), body, key=key)
                    self.assertIn(first.status_code, (200, 201), first.content)
                    again = self.post(self.path(name), body, key=key)
                    self.assertEqual(again.headers["Idempotent-Replayed"], "true")
                    self.assertEqual(again.content, first.content)
                    self.assertTrue(Transaction.objects.get(idempotency_key=key))

    def test_is_the_uuid_of_a_wallet(self) -> None:
        for number in HOSTILE:
            with self.subTest(wallet=number):
                wallet = Wallet.objects.create(uuid=number)
                response = self.post(self.path("deposit", wallet=wallet), {"amount": 2})
                self.assertEqual(response.status_code, 200, response.content)
                response = self.get(f"/wallets/{number}/")
                self.assertEqual(response.json()["balance"], 2)

    def test_is_a_reference_of_a_payment(self) -> None:
        self.deposit(10)
        for key in HOSTILE:
            withdrawal = WithdrawalService.schedule(
                self.alice.uuid, 1, self.after(1), key, now=self.now
            )
            done = WithdrawalService.execute(
                withdrawal.pk, bank=self.bank, now=self.after(2)
            )
            self.assertEqual(done.status, Transaction.Status.COMPLETED)

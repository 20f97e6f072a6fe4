"""Deposits over HTTP."""

from __future__ import annotations

import uuid

from wallets.models.base import MAX_MONEY
from wallets.models.transaction import Transaction
from wallets.tests.api import Api, nothing_written
from wallets.tests.base import WalletTestCase

# The keys of the specification come first; the order is part of the contract.
TRANSACTION_KEYS = [
    "id",
    "wallet",
    "amount",
    "transaction_type",
    "status",
    "scheduled_for",
    "executed_at",
    "created_at",
    "retry_count",
    "next_attempt_at",
    "failure_code",
    "needs_review",
    "cancelable",
    "third_party_response",
    "transfer",
    "counterparty",
    "counterparty_reference",
    "corrects",
    "returns",
    "idempotency_key",
    "description",
    "reference",
    "metadata",
    "if_frozen",
]


class DepositApiTest(Api, WalletTestCase):
    def test_adds_the_money_at_once(self) -> None:
        response = self.post(self.path("deposit"), {"amount": 10000})
        self.assertEqual(response.status_code, 200)
        answer = response.json()
        self.assertEqual(list(answer), ["wallet", "transaction"])
        self.assertEqual(
            answer["wallet"], {"uuid": str(self.alice.uuid), "balance": 10000}
        )
        transaction = answer["transaction"]
        self.assertEqual(list(transaction), TRANSACTION_KEYS)
        made = Transaction.objects.get()
        self.assertEqual(transaction["id"], made.pk)
        self.assertEqual(transaction["wallet"], str(self.alice.uuid))
        self.assertEqual(transaction["amount"], 10000)
        self.assertEqual(transaction["transaction_type"], "DEPOSIT")
        self.assertEqual(transaction["status"], "COMPLETED")
        self.assertEqual(transaction["executed_at"], transaction["created_at"])
        self.assertIs(transaction["cancelable"], False)
        self.assertIsNone(transaction["failure_code"])
        self.assertIsNone(transaction["third_party_response"])
        self.assert_money(self.alice, balance=10000)

    def test_takes_the_path_with_a_trailing_slash_too(self) -> None:
        response = self.post(self.path("deposit/"), {"amount": 5})
        self.assertEqual(response.status_code, 200)

    def test_takes_the_limits_of_an_amount(self) -> None:
        for amount in (1, MAX_MONEY - 1):
            response = self.post(self.path("deposit"), {"amount": amount})
            self.assertEqual(response.status_code, 200, response.content)
        self.assertEqual(response.json()["wallet"]["balance"], MAX_MONEY)

    def test_refuses_what_exceeds_the_cap_of_the_wallet(self) -> None:
        """Row 41 of the bad inputs. The key stays free."""
        key = uuid.uuid4()
        self.deposit(MAX_MONEY)
        with nothing_written():
            response = self.post(self.path("deposit"), {"amount": 1}, key=key)
        self.assert_problem(response, 422, "balance_limit")
        other = self.path("deposit", wallet=self.bob)
        response = self.post(other, {"amount": 1}, key=key)
        self.assertEqual(response.status_code, 200)
        self.assertNotIn("Idempotent-Replayed", response.headers)

    def test_answers_404_for_an_unknown_wallet(self) -> None:
        with nothing_written():
            response = self.post(f"/wallets/{uuid.uuid4()}/deposit", {"amount": 1})
        self.assert_problem(response, 404, "wallet_not_found")

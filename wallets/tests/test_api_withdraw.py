"""Withdrawals over HTTP: scheduling."""

from __future__ import annotations

import uuid
from datetime import timedelta

from wallets.models.transaction import Transaction
from wallets.tests.api import FUTURE, Answer, Api, nothing_written
from wallets.tests.base import WalletTestCase, utc
from wallets.tests.test_api_deposit import TRANSACTION_KEYS


class WithdrawApiTest(Api, WalletTestCase):
    def withdraw(self, scheduled_for: str, amount: int = 5000) -> Answer:
        body = {"amount": amount, "scheduled_for": scheduled_for}
        return self.post(self.path("withdraw"), body)

    def test_schedules_without_looking_at_the_balance(self) -> None:
        response = self.withdraw(FUTURE)
        self.assertEqual(response.status_code, 201)
        answer = response.json()
        self.assertEqual(list(answer), TRANSACTION_KEYS)
        self.assertEqual(answer["wallet"], str(self.alice.uuid))
        self.assertEqual(answer["amount"], 5000)
        self.assertEqual(answer["transaction_type"], "WITHDRAWAL")
        self.assertEqual(answer["status"], "PENDING")
        self.assertEqual(answer["scheduled_for"], FUTURE)
        self.assertIsNone(answer["executed_at"])
        self.assertIs(answer["cancelable"], True)
        self.assert_money(self.alice, balance=0)

    def test_says_where_the_withdrawal_is(self) -> None:
        response = self.withdraw(FUTURE)
        location = response.headers["Location"]
        path = self.path("transactions", response.json()["id"], "")
        self.assertEqual(location, f"http://testserver{path}")
        self.assertEqual(self.get(location).content, response.content)

    def test_takes_the_path_with_a_trailing_slash_too(self) -> None:
        body = {"amount": 5, "scheduled_for": FUTURE}
        response = self.post(self.path("withdraw/"), body)
        self.assertEqual(response.status_code, 201)

    def test_takes_an_instant_in_every_form_of_the_standard(self) -> None:
        """Row 50 of the bad inputs: a local time with an offset is an instant."""
        for sent, meant in [
            ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"),
            ("2030-01-31t12:00:00z", "2030-01-31T12:00:00Z"),
            ("2030-01-31T12:00:00+00:00", "2030-01-31T12:00:00Z"),
            ("2030-01-31T12:00:00-00:00", "2030-01-31T12:00:00Z"),
            ("2030-01-31T12:00:00+03:30", "2030-01-31T08:30:00Z"),
            ("2030-01-31T12:00:00-23:59", "2030-02-01T11:59:00Z"),
            ("2030-01-31T12:00:00.5Z", "2030-01-31T12:00:00.500000Z"),
            ("2030-01-31T12:00:00.123456789Z", "2030-01-31T12:00:00.123456Z"),
            ("2030-01-31T12:00:00.000000Z", "2030-01-31T12:00:00Z"),
            # Berlin has this hour twice; the offset distinguishes them.
            ("2030-10-27T02:30:00+02:00", "2030-10-27T00:30:00Z"),
            ("2030-10-27T02:30:00+01:00", "2030-10-27T01:30:00Z"),
        ]:
            with self.subTest(sent=sent):
                response = self.withdraw(sent)
                self.assertEqual(response.status_code, 201, response.content)
                self.assertEqual(response.json()["scheduled_for"], meant)
                stored = Transaction.objects.get(pk=response.json()["id"])
                shown = self.get(response.headers["Location"]).json()
                self.assertEqual(shown["scheduled_for"], meant)
                self.assertGreater(stored.scheduled_for, utc(2030, 1, 1))

    def test_refuses_the_past_by_an_hour_and_by_a_second(self) -> None:
        """Row 48 of the bad inputs."""
        for seconds in (-3600, -1, 0):
            moment = (self.now + timedelta(seconds=seconds)).isoformat()
            with self.subTest(seconds=seconds), nothing_written():
                self.assert_problem(
                    self.withdraw(moment),
                    400,
                    "scheduled_for_in_the_past",
                    "scheduled_for",
                )

    def test_refuses_what_is_beyond_the_horizon(self) -> None:
        """Row 47 of the bad inputs."""
        with nothing_written():
            response = self.withdraw("9999-12-31T23:59:59Z")
        self.assert_problem(response, 400, "scheduled_for_too_far", "scheduled_for")

    def test_names_every_field_that_is_wrong(self) -> None:
        with nothing_written():
            response = self.post(
                self.path("withdraw"), {"amount": "1", "scheduled_for": 5, "x": 1}
            )
        problem = self.assert_problem(response, 400, "invalid_request")
        self.assertEqual(
            {error["field"]: error["code"] for error in problem["errors"]},
            {
                "amount": "amount_invalid",
                "scheduled_for": "scheduled_for_invalid",
                "x": "unknown_field",
            },
        )

    def test_answers_404_for_an_unknown_wallet(self) -> None:
        body = {"amount": 1, "scheduled_for": FUTURE}
        with nothing_written():
            response = self.post(f"/wallets/{uuid.uuid4()}/withdraw", body)
        self.assert_problem(response, 404, "wallet_not_found")

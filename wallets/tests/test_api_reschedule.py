"""Rescheduling a withdrawal over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.api import FUTURE, Answer, Api, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does

LATER = "2030-02-28T12:00:00Z"


class RescheduleApiTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key = uuid.uuid4()
        self.body = {"amount": 5, "scheduled_for": FUTURE}
        self.made = self.post(self.path("withdraw"), self.body, key=self.key)
        self.withdrawal = Transaction.objects.get(pk=self.made.json()["id"])

    def reschedule(
        self,
        body: Any = None,
        transaction: Transaction | None = None,
        wallet: Any = None,
        end: str = "",
    ) -> Answer:
        pk = (transaction or self.withdrawal).pk
        path = self.path("transactions", pk, f"reschedule{end}", wallet=wallet)
        return self.post(path, {"scheduled_for": LATER} if body is None else body)

    def test_answers_the_withdrawal_with_its_new_time(self) -> None:
        response = self.reschedule()
        self.assertEqual(response.status_code, 200)
        expected = self.made.json() | {"scheduled_for": LATER}
        self.assertEqual(response.json(), expected)
        shown = self.get(self.path("transactions", self.withdrawal.pk, ""))
        self.assertEqual(shown.content, response.content)

    def test_says_the_same_the_second_time_and_writes_nothing(self) -> None:
        first = self.reschedule()
        with nothing_written():
            second = self.reschedule(end="/")
            other = self.reschedule({"scheduled_for": "2030-02-28T13:00:00+01:00"})
        for again in (second, other):
            self.assertEqual(again.status_code, 200)
            self.assertEqual(again.content, first.content)
        self.assertEqual(Transition.objects.filter(event="reschedule").count(), 1)

    def test_leaves_the_answer_to_the_first_request_as_it_was(self) -> None:
        for when in (LATER, "2030-03-01T00:00:00Z"):
            self.reschedule({"scheduled_for": when})
            with nothing_written():
                again = self.post(self.path("withdraw"), self.body, key=self.key)
            self.assertEqual(again.status_code, 201)
            self.assertEqual(again.content, self.made.content)
            self.assertEqual(again.headers["Idempotent-Replayed"], "true")

    def test_makes_the_new_time_no_time_of_the_first_request(self) -> None:
        self.reschedule()
        body = self.body | {"scheduled_for": LATER}
        with nothing_written():
            again = self.post(self.path("withdraw"), body, key=self.key)
        self.assert_problem(again, 422, "idempotency_key_reused")

    def test_is_refused_with_the_state_once_execution_has_begun(self) -> None:
        for script, status in (
            ([Does.PAY_SILENTLY], "PROCESSING"),
            ([Does.REFUSE], "FAILED"),
            ([Does.PAY], "COMPLETED"),
        ):
            with self.subTest(status=status):
                self.deposit(5)
                withdrawal = self.due_withdrawal(5)
                self.bank.script.extend(script)
                WithdrawalService.execute(withdrawal.pk, bank=self.bank)
                with nothing_written():
                    response = self.reschedule(transaction=withdrawal)
                problem = self.assert_problem(response, 409, "not_reschedulable")
                self.assertEqual(problem["transaction_status"], status)
                self.assertIn("cannot be rescheduled", problem["detail"])

    def test_is_refused_for_what_is_cancelled_and_for_a_deposit(self) -> None:
        WithdrawalService.cancel(self.withdrawal.pk)
        for transaction, status in (
            (self.withdrawal, "CANCELLED"),
            (self.deposit(5), "COMPLETED"),
        ):
            with nothing_written():
                response = self.reschedule(transaction=transaction)
            problem = self.assert_problem(response, 409, "not_reschedulable")
            self.assertEqual(problem["transaction_status"], status)

    def test_answers_404_for_a_withdrawal_of_another_wallet(self) -> None:
        with nothing_written():
            response = self.reschedule(wallet=self.bob)
        self.assert_problem(response, 404, "transaction_not_found")

    def test_takes_exactly_one_future_time(self) -> None:
        for body, code in (
            ({}, "required"),
            ({"scheduled_for": None}, "scheduled_for_invalid"),
            ({"scheduled_for": 1893456000}, "scheduled_for_invalid"),
            ({"scheduled_for": "2030-01-31"}, "scheduled_for_invalid"),
            ({"scheduled_for": "2030-01-31T12:00:00"}, "scheduled_for_invalid"),
            ({"scheduled_for": "2020-01-31T12:00:00Z"}, "scheduled_for_in_the_past"),
            ({"scheduled_for": "9999-01-31T12:00:00Z"}, "scheduled_for_too_far"),
        ):
            with self.subTest(body=body), nothing_written():
                response = self.reschedule(body)
                self.assert_problem(response, 400, code, "scheduled_for")

    def test_refuses_unknown_fields_and_other_bodies(self) -> None:
        for body, code in (
            ({"scheduled_for": LATER, "amount": 6}, "unknown_field"),
            (b"", "body_required"),
            (b"[]", "json_invalid"),
            (b'{"scheduled_for": 1, "scheduled_for": 2}', "json_invalid"),
        ):
            with self.subTest(body=body), nothing_written():
                self.assert_problem(self.reschedule(body), 400, code)

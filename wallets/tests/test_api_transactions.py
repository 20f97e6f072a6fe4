"""Transactions over HTTP: the list, one, and cancelling one."""

from __future__ import annotations

import re
import uuid
from typing import Any

from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import FUTURE, Answer, Api, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does

LINK = re.compile(r'<([^>]+)>; rel="(\w+)"')


def links_of(response: Answer) -> dict[str, str]:
    return {rel: url for url, rel in LINK.findall(response.headers["Link"])}


class TransactionListApiTest(Api, WalletTestCase):
    def listed(self, query: str = "", wallet: Any = None) -> Answer:
        return self.get(self.path("transactions/", wallet=wallet) + query)

    def ids(self, response: Answer) -> list[int]:
        assert response.status_code == 200, response.content
        return [transaction["id"] for transaction in response.json()]

    def test_is_a_bare_array_newest_first(self) -> None:
        made = [self.deposit(amount).pk for amount in (1, 2, 3)]
        response = self.listed()
        self.assertEqual(self.ids(response), made[::-1])
        self.assertEqual(list(links_of(response)), ["first"])

    def test_shows_each_as_it_is_shown_alone(self) -> None:
        self.deposit(5)
        self.due_withdrawal(3)
        for transaction in self.listed().json():
            alone = self.get(self.path("transactions", transaction["id"], ""))
            self.assertEqual(alone.json(), transaction)

    def test_is_empty_for_a_new_wallet(self) -> None:
        self.deposit(1)
        self.assertEqual(self.listed(wallet=self.bob).json(), [])

    def test_filters_by_status_and_by_type(self) -> None:
        deposit = self.deposit(5).pk
        pending = self.due_withdrawal(3).pk
        failed = WithdrawalService.execute(self.due_withdrawal(99).pk, bank=self.bank)
        for query, expected in [
            ("?status=PENDING", [pending]),
            ("?status=FAILED", [failed.pk]),
            ("?status=COMPLETED", [deposit]),
            ("?status=PROCESSING", []),
            ("?status=CANCELLED", []),
            ("?type=DEPOSIT", [deposit]),
            ("?type=WITHDRAWAL", [failed.pk, pending]),
            ("?type=DEPOSIT&status=PENDING", []),
        ]:
            with self.subTest(query=query):
                self.assertEqual(self.ids(self.listed(query)), expected)

    @marks.slow
    def test_gives_fifty_by_default(self) -> None:
        for _ in range(51):
            self.deposit(1)
        self.assertEqual(len(self.listed().json()), 50)
        self.assertEqual(len(self.listed("?limit=100").json()), 51)

    def test_is_walked_by_its_links_alone(self) -> None:
        made = [self.deposit(1).pk for _ in range(7)]
        response = self.listed("?limit=3&type=DEPOSIT")
        first = links_of(response)["first"]
        seen = self.ids(response)
        while "next" in links_of(response):
            response = self.get(links_of(response)["next"])
            self.assertEqual(links_of(response)["first"], first)
            seen += self.ids(response)
        self.assertEqual(seen, made[::-1])
        self.assertTrue(first.startswith("http://testserver/wallets/"))
        self.assertEqual(self.ids(self.get(first)), made[:-4:-1])

    def test_has_no_next_page_after_an_exactly_full_one(self) -> None:
        for _ in range(2):
            self.deposit(1)
        self.assertNotIn("next", links_of(self.listed("?limit=2")))

    def test_neither_skips_nor_repeats_under_writes(self) -> None:
        made = [self.deposit(1).pk for _ in range(6)]
        response = self.listed("?limit=2")
        seen = self.ids(response)
        while "next" in links_of(response):
            self.deposit(1)
            response = self.get(links_of(response)["next"])
            seen += self.ids(response)
        self.assertEqual(seen, made[::-1])

    def test_refuses_a_cursor_of_another_wallet_or_filter(self) -> None:
        """Row 61 of the bad inputs."""
        for wallet in (self.alice, self.bob):
            for _ in range(3):
                self.deposit(1, wallet)
        url = links_of(self.listed("?limit=1&type=DEPOSIT"))["next"]
        cursor = url.partition("cursor=")[2]
        tampered = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
        for query, wallet in [
            (f"?cursor={cursor}", self.alice),
            (f"?type=WITHDRAWAL&cursor={cursor}", self.alice),
            (f"?type=DEPOSIT&status=COMPLETED&cursor={cursor}", self.alice),
            (f"?type=DEPOSIT&cursor={cursor}", self.bob),
            (f"?type=DEPOSIT&cursor={tampered}", self.alice),
            (f"?type=DEPOSIT&cursor={cursor.partition('.')[0]}", self.alice),
            ("?cursor=%00", self.alice),
            ("?cursor=", self.alice),
            ("?cursor=5", self.alice),
            ("?cursor=%EF%BF%BD", self.alice),
        ]:
            with self.subTest(query=query):
                response = self.listed(query, wallet)
                self.assert_problem(response, 400, "cursor_invalid", "cursor")
        # Its own list accepts it, also with another page length.
        self.assertEqual(
            len(self.listed(f"?limit=2&type=DEPOSIT&cursor={cursor}").json()), 2
        )

    def test_answers_404_for_an_unknown_wallet(self) -> None:
        response = self.get(f"/wallets/{uuid.uuid4()}/transactions/")
        self.assert_problem(response, 404, "wallet_not_found")


class TransactionApiTest(Api, WalletTestCase):
    def show(self, transaction_id: object, wallet: Any = None) -> Answer:
        return self.get(self.path("transactions", transaction_id, "", wallet=wallet))

    def test_shows_what_became_of_a_withdrawal(self) -> None:
        withdrawal = self.due_withdrawal(99)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        shown = self.show(withdrawal.pk).json()
        self.assertEqual(shown["status"], "FAILED")
        self.assertEqual(shown["failure_code"], "insufficient_balance")
        self.assertIn("Insufficient balance", shown["third_party_response"])
        self.assertIsNone(shown["next_attempt_at"])

    def test_shows_when_a_failed_withdrawal_is_tried_again(self) -> None:
        self.deposit(5)
        withdrawal = self.due_withdrawal(5)
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        shown = self.show(withdrawal.pk).json()
        self.assertEqual(shown["status"], "FAILED")
        self.assertEqual(shown["failure_code"], "rejected_by_bank")
        self.assertRegex(shown["next_attempt_at"], r"^\d{4}-.*Z$")

    def test_exists_only_under_its_own_wallet(self) -> None:
        deposit = self.deposit(5)
        self.assertEqual(self.show(deposit.pk).status_code, 200)
        response = self.show(deposit.pk, self.bob)
        self.assert_problem(response, 404, "transaction_not_found")

    def test_answers_404_for_an_unknown_id(self) -> None:
        for transaction_id in (2**63 - 1, 2**31, 999999999):
            with self.subTest(transaction_id=transaction_id):
                response = self.show(transaction_id)
                self.assert_problem(response, 404, "transaction_not_found")

    def test_answers_404_for_an_invalid_id(self) -> None:
        for transaction_id in (0, -1, "01", "1.0", "abc", 2**63, "9" * 5000, "%D9%A1"):
            with self.subTest(transaction_id=str(transaction_id)[:20]):
                self.assert_problem(self.show(transaction_id), 404, "not_found")


class CancelApiTest(Api, WalletTestCase):
    """Row 58 of the bad inputs."""

    def cancel(
        self, transaction: Transaction, wallet: Any = None, end: str = ""
    ) -> Answer:
        parts = ("transactions", transaction.pk, f"cancel{end}")
        return self.post(self.path(*parts, wallet=wallet))

    def scheduled(self) -> Transaction:
        body = {"amount": 5, "scheduled_for": FUTURE}
        made = self.post(self.path("withdraw"), body).json()
        return Transaction.objects.get(pk=made["id"])

    def test_takes_a_pending_withdrawal_back(self) -> None:
        withdrawal = self.scheduled()
        response = self.cancel(withdrawal)
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json()["status"], "CANCELLED")
        self.assertIs(response.json()["cancelable"], False)
        shown = self.get(self.path("transactions", withdrawal.pk, ""))
        self.assertEqual(shown.content, response.content)

    def test_says_the_same_the_second_time_and_writes_nothing(self) -> None:
        withdrawal = self.scheduled()
        first = self.cancel(withdrawal)
        with nothing_written():
            second = self.cancel(withdrawal, end="/")
        self.assertEqual(second.status_code, 200)
        self.assertEqual(second.content, first.content)
        self.assertEqual(Transition.objects.filter(event="cancel").count(), 1)

    def test_is_refused_with_the_state_once_execution_has_begun(self) -> None:
        for script, status in [
            ([Does.PAY_SILENTLY], "PROCESSING"),
            ([Does.PAY], "COMPLETED"),
        ]:
            with self.subTest(status=status):
                self.deposit(5)
                withdrawal = self.due_withdrawal(5)
                self.bank.script.extend(script)
                WithdrawalService.execute(withdrawal.pk, bank=self.bank)
                with nothing_written():
                    response = self.cancel(withdrawal)
                problem = self.assert_problem(response, 409, "not_cancelable")
                self.assertEqual(problem["transaction_status"], status)

    def test_takes_a_failed_withdrawal_back_that_would_be_tried_again(self) -> None:
        self.deposit(5)
        withdrawal = self.due_withdrawal(5)
        self.bank.script.append(Does.REFUSE)
        WithdrawalService.execute(withdrawal.pk, bank=self.bank)
        path = self.path("transactions", withdrawal.pk, "")
        self.assertIs(self.get(path).json()["cancelable"], True)
        for _ in range(2):
            answer = self.cancel(withdrawal).json()
            self.assertEqual(answer["status"], "CANCELLED")
            self.assertIs(answer["cancelable"], False)
            self.assertIsNone(answer["next_attempt_at"])
            self.assertIsNone(answer["failure_code"])
            self.assertEqual(self.get(path).json(), answer)
        self.assert_money(self.alice, balance=5)

    def test_is_refused_for_a_deposit(self) -> None:
        deposit = self.deposit(5)
        with nothing_written():
            response = self.cancel(deposit)
        problem = self.assert_problem(response, 409, "not_cancelable")
        self.assertEqual(problem["transaction_status"], "COMPLETED")

    def test_answers_404_for_a_withdrawal_of_another_wallet(self) -> None:
        withdrawal = self.scheduled()
        with nothing_written():
            response = self.cancel(withdrawal, self.bob)
        self.assert_problem(response, 404, "transaction_not_found")

    def test_takes_no_body(self) -> None:
        withdrawal = self.scheduled()
        path = self.path("transactions", withdrawal.pk, "cancel")
        with nothing_written():
            response = self.post(path, {"reason": "changed my mind"})
        self.assert_problem(response, 400, "unknown_field", "reason")
        self.assertEqual(self.post(path, {}).status_code, 200)

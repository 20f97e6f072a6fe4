"""What clients see of a payment that the bank has returned."""

from __future__ import annotations

from datetime import timedelta

from wallets.models.ledger import Movement
from wallets.services.operations.payment_return import record_return
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.api import Api
from wallets.tests.base import OSCAR, WalletTestCase
from wallets.utils import instants


class ReturnTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        row = self.due_withdrawal(60)
        self.paid = WithdrawalService.execute(row.pk, bank=self.bank, now=self.now)
        self.done = record_return(
            *(self.paid.pk, 55),
            return_reference="RET-2026-117",
            reason="the account is closed",
            actor=OSCAR,
        )

    def test_is_a_transaction_that_names_the_withdrawal(self) -> None:
        shown = self.get(self.path("transactions", self.done.credit_id, "")).json()
        self.assertEqual(shown["transaction_type"], "RETURN")
        self.assertEqual((shown["amount"], shown["status"]), (55, "COMPLETED"))
        self.assertEqual((shown["returns"], shown["corrects"]), (self.paid.pk, None))
        self.assertEqual((shown["scheduled_for"], shown["if_frozen"]), (None, None))

    def test_leaves_the_withdrawal_as_it_was(self) -> None:
        shown = self.get(self.path("transactions", self.paid.pk, "")).json()
        self.assertEqual((shown["status"], shown["returns"]), ("COMPLETED", None))

    def test_is_in_every_list_and_found_by_its_type(self) -> None:
        one = self.get(self.path("transactions", self.done.credit_id, "")).json()
        self.assertEqual(self.get(self.path("transactions/")).json()[0], one)
        for path in (
            self.path("transactions/?type=RETURN"),
            "/transactions/?type=RETURN",
        ):
            with self.subTest(path):
                self.assertEqual(self.get(path).json(), [one])

    def test_is_a_line_of_the_statement_and_of_its_csv(self) -> None:
        path = self.path("statement/")
        page = self.get(path).json()
        self.assertEqual(page["closing_balance"], 95)
        *_, line = page["movements"]
        self.assertEqual((line["kind"], line["change"]), ("return", 55))
        self.assertEqual(
            (line["transaction"], line["attempt"]), (self.done.credit_id, None)
        )
        self.assertEqual((line["returns"], line["balance_after"]), (self.paid.pk, 95))
        answer = self.get(path, Accept="text/csv").getvalue().decode()
        head, *_, line, _ = answer.splitlines()
        self.assertTrue(head.endswith(",corrects,returns"), head)
        self.assertTrue(line.endswith(f",,{self.paid.pk}"), line)

    def test_counts_from_its_own_moment_on(self) -> None:
        moment = Movement.objects.get(kind="return").created_at
        for at, balance in ((moment, 95), (moment - timedelta(microseconds=1), 40)):
            path = self.path(f"balance/?at={instants.write(at)}")
            with self.subTest(balance):
                self.assertEqual(self.get(path).json()["balance"], balance)

    def test_cannot_be_cancelled(self) -> None:
        answer = self.post(self.path("transactions", self.done.credit_id, "cancel"))
        self.assert_problem(answer, 409, "not_cancelable")

"""Corrections over HTTP: off by default; what is taken back, refused and replayed."""

from __future__ import annotations

import uuid
from typing import Any

from django.test import override_settings

from wallets.models.base import MAX_MONEY
from wallets.models.correction import Correction
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.transfers.transfer import transfer
from wallets.tests.api import Answer, Api, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.tests.raw import update

WHY = "10000 was typed for 1000"


class CorrectionApiCase(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.deposit(100)

    def at(self, pk: Any, wallet: Wallet | None = None) -> str:
        return self.path("transactions", pk, "corrections", "", wallet=wallet)

    def correct(
        self, amount: Any = 90, *, pk: Any = None, wallet: Any = None, **options: Any
    ) -> Answer:
        body = {"amount": amount, "reason": WHY}
        return self.post(self.at(pk or self.made.pk, wallet), body, **options)


class CorrectionsSwitchedOffTest(CorrectionApiCase):
    """The default: an API that asks nobody who it is takes no money out."""

    def test_have_no_path(self) -> None:
        with nothing_written():
            self.assert_problem(self.correct(), 404, "not_found")
            for method in ("GET", "PUT", "OPTIONS"):
                answer = self.call(method, self.at(self.made.pk))
                self.assert_problem(answer, 404, "not_found")
        nowhere = self.path("transactions", self.made.pk, "nowhere", "")
        same = self.post(nowhere, {"amount": 1, "reason": WHY})
        self.assertEqual(same.content, self.correct().content)

    def test_are_not_hinted_at(self) -> None:
        without_slash = self.at(self.made.pk).rstrip("/")
        answer = self.post(without_slash, {"amount": 1, "reason": WHY})
        self.assertNotIn(b"corrections", answer.content)


@override_settings(API_CORRECTIONS=True)
class CorrectionApiTest(CorrectionApiCase):
    def test_takes_back_a_part_and_says_what_is_left(self) -> None:
        key = uuid.uuid4()
        answer = self.correct(key=key)
        self.assertEqual(answer.status_code, 201, answer.content)
        one = Correction.objects.get()
        path = self.path("transactions", one.debit_id, "")
        self.assertEqual(answer.headers["Location"], f"http://testserver{path}")
        entry = self.get(path).json()
        self.assertEqual(entry["corrects"], self.made.pk)
        self.assertEqual(
            answer.json(),
            {
                "wallet": {"uuid": str(self.alice.uuid), "balance": 10},
                "correction": {
                    "transaction": one.debit_id,
                    "corrects": self.made.pk,
                    "number": 1,
                    "amount": 90,
                    "left": 10,
                    "reason": WHY,
                    "actor": "client",
                    "created_at": entry["created_at"],
                    "idempotency_key": str(key),
                },
            },
        )
        self.assertNotIn("Idempotent-Replayed", answer.headers)

    def test_takes_back_all_in_several_steps_and_no_more(self) -> None:
        self.deposit(1000)
        lefts = [self.correct(n).json()["correction"]["left"] for n in (60, 39, 1)]
        self.assertEqual(lefts, [40, 1, 0])
        with nothing_written():
            self.assert_problem(self.correct(1), 422, "correction_too_large")
        self.assert_money(self.alice, balance=1000)

    def test_returns_a_transfer_whichever_half_is_named(self) -> None:
        moved = transfer(self.alice.uuid, self.bob.uuid, 60)
        by_payer = self.correct(20, pk=moved.debit_id).json()
        self.assertEqual(by_payer["wallet"]["balance"], 60)
        self.assertEqual(by_payer["correction"]["corrects"], moved.debit_id)
        by_payee = self.correct(40, pk=moved.credit_id, wallet=self.bob).json()
        self.assertEqual(by_payee["wallet"], {"uuid": str(self.bob.uuid), "balance": 0})
        self.assertEqual(by_payee["correction"]["corrects"], moved.credit_id)
        self.assertEqual(by_payee["correction"]["number"], 2)
        for half, wallet in ((by_payer, self.alice), (by_payee, self.bob)):
            pk = half["correction"]["transaction"]
            self.assertEqual(Transaction.objects.get(pk=pk).wallet, wallet)

    def test_answers_the_same_to_the_same_key(self) -> None:
        key = uuid.uuid4()
        first = self.correct(30, key=key)
        self.deposit(5)
        self.correct(10)
        again = self.correct(30, key=key)
        self.assertEqual((again.status_code, again.content), (201, first.content))
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.headers["Location"], first.headers["Location"])
        self.assertEqual(Correction.objects.count(), 2)

    def test_refuses_a_key_that_stands_for_another_request(self) -> None:
        key = uuid.uuid4()
        self.correct(30, key=key)
        other = self.deposit(30)
        told = {"amount": 30, "reason": "another reason"}
        with nothing_written():
            for answer in (
                self.correct(31, key=key),
                self.correct(30, pk=other.pk, key=key),
                self.correct(30, key=self.made.idempotency_key),
                self.post(self.at(self.made.pk), told, key=key),
                self.post(self.path("deposit"), {"amount": 30}, key=key),
            ):
                self.assert_problem(answer, 422, "idempotency_key_reused")

    def test_does_not_use_up_the_key_of_a_refused_request(self) -> None:
        key = uuid.uuid4()
        self.assertEqual(self.correct(101, key=key).status_code, 422)
        answer = self.correct(100, key=key)
        self.assertEqual(answer.status_code, 201)
        self.assertNotIn("Idempotent-Replayed", answer.headers)

    def test_refuses_bad_input(self) -> None:
        good = {"amount": 1, "reason": WHY}
        for changes, code, field in (
            *(({"amount": x}, "amount_invalid", "amount") for x in (0, -1, 1.0, True)),
            *(({"amount": x}, "amount_invalid", "amount") for x in ("1", None, [])),
            ({"amount": MAX_MONEY + 1}, "amount_too_large", "amount"),
            *(({"reason": x}, "reason_invalid", "reason") for x in ("", " ", 1, None)),
            *(({"reason": x}, "reason_invalid", "reason") for x in ("x" * 501, "a\nb")),
            ({"reason": "a\u202eb"}, "reason_invalid", "reason"),
            ({"actor": "oscar"}, "unknown_field", "actor"),
            ({"number": 1}, "unknown_field", "number"),
        ):
            with self.subTest(changes), nothing_written():
                answer = self.post(self.at(self.made.pk), good | changes)
                self.assert_problem(answer, 400, code, field)
        for name in good:
            body = {other: good[other] for other in good if other != name}
            answer = self.post(self.at(self.made.pk), body)
            self.assert_problem(answer, 400, "required", name)
        for body in (b"", b"[]", b"null", b'{"amount":1,"amount":1,"reason":"x"}'):
            with self.subTest(body), nothing_written():
                self.assertEqual(
                    self.post(self.at(self.made.pk), body).status_code, 400
                )
        answer = self.correct(1, key="x")
        self.assert_problem(answer, 400, "idempotency_key_invalid", "Idempotency-Key")
        answer = self.post(self.at(self.made.pk) + "?a=b", good)
        self.assert_problem(answer, 400, "parameter_unknown", "a")

    def test_finds_a_transaction_under_its_own_wallet_only(self) -> None:
        nobody = Wallet(uuid=uuid.uuid4())
        with nothing_written():
            for pk, wallet, code in (
                (self.made.pk, self.bob, "transaction_not_found"),
                (2**62, None, "transaction_not_found"),
                (self.made.pk, nobody, "transaction_not_found"),
                (2**63, None, "not_found"),
                ("01", None, "not_found"),
            ):
                with self.subTest(code, pk=pk):
                    answer = self.correct(1, pk=pk, wallet=wallet)
                    self.assert_problem(answer, 404, code)

    def test_refuses_what_cannot_be_corrected(self) -> None:
        withdrawal = self.due_withdrawal(1)
        correction = self.correct(1).json()["correction"]["transaction"]
        for pk in (withdrawal.pk, correction):
            with self.subTest(pk), nothing_written():
                self.assert_problem(self.correct(1, pk=pk), 409, "not_correctable")

    def test_refuses_more_than_the_wallet_has(self) -> None:
        transfer(self.alice.uuid, self.bob.uuid, 95)
        with nothing_written():
            self.assert_problem(self.correct(6), 422, "insufficient_balance")
        self.assertEqual(self.correct(5).status_code, 201)

    def test_refuses_a_closed_wallet_and_not_a_frozen_one(self) -> None:
        update(Wallet, self.alice.pk, {"frozen_in": True, "frozen_out": True})
        self.assertEqual(self.correct(90).status_code, 201)
        self.correct(10)
        other = self.deposit(1, self.bob)
        transfer(self.bob.uuid, self.new_wallet().uuid, 1)
        update(Wallet, self.bob.pk, {"closed": True})
        with nothing_written():
            answer = self.correct(1, pk=other.pk, wallet=self.bob)
            self.assert_problem(answer, 409, "wallet_closed")

    def new_wallet(self) -> Wallet:
        return Wallet.objects.create(currency=self.alice.currency)

    def test_does_not_say_what_the_other_wallet_has(self) -> None:
        moved = transfer(self.alice.uuid, self.bob.uuid, 60)
        transfer(self.bob.uuid, self.alice.uuid, 43)
        answer = self.correct(20, pk=moved.debit_id)
        problem = self.assert_problem(answer, 422, "insufficient_balance")
        self.assertNotIn("17", problem["detail"])
        answer = self.correct(20, pk=moved.credit_id, wallet=self.bob)
        problem = self.assert_problem(answer, 422, "insufficient_balance")
        self.assertIn("17", problem["detail"])
        self.deposit(MAX_MONEY - 90)
        answer = self.correct(17, pk=moved.credit_id, wallet=self.bob)
        problem = self.assert_problem(answer, 422, "balance_limit")
        self.assertNotIn(str(MAX_MONEY - 7), problem["detail"])

    def test_is_the_only_method_of_its_path(self) -> None:
        answer = self.call("GET", self.at(self.made.pk))
        self.assert_problem(answer, 405, "method_not_allowed")
        self.assertEqual(answer.headers["Allow"], "POST, OPTIONS")

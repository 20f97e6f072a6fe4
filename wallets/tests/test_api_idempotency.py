"""The Idempotency-Key header: one effect and one answer, however often it is sent."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import time_machine
from django.test import Client

from wallets.models.transaction import Transaction
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import FUTURE, Answer, Api, nothing_written
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections


class IdempotencyApiTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key = uuid.uuid4()

    def assert_replay(self, first: Answer, again: Answer) -> None:
        self.assertNotIn("Idempotent-Replayed", first.headers)
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.status_code, first.status_code)
        self.assertEqual(again.content, first.content)
        self.assertEqual(again.headers.get("Location"), first.headers.get("Location"))

    def test_answers_a_repeated_deposit_with_the_same_bytes(self) -> None:
        """Row 11: also after the balance has changed."""
        path = self.path("deposit")
        first = self.post(path, {"amount": 100}, key=self.key)
        self.deposit(50)
        with nothing_written():
            again = self.post(path, {"amount": 100}, key=self.key)
        self.assert_replay(first, again)
        self.assertEqual(again.json()["wallet"]["balance"], 100)
        self.assert_money(self.alice, balance=150)

    def test_answers_a_repeated_withdrawal_with_the_same_bytes(self) -> None:
        """Also after it was paid, when its time is in the past."""
        self.deposit(10)
        when = self.after(30)
        body = {"amount": 5, "scheduled_for": when.isoformat()}
        first = self.post(self.path("withdraw"), body, key=self.key)
        self.assertEqual(first.status_code, 201)
        with time_machine.travel(when + timedelta(days=1), tick=False):
            paid = WithdrawalService.execute(
                first.json()["id"], bank=self.bank, now=when + timedelta(days=1)
            )
            self.assertEqual(paid.status, "COMPLETED")
            with nothing_written():
                again = self.post(self.path("withdraw"), body, key=self.key)
        self.assert_replay(first, again)
        self.assertEqual(again.json()["status"], "PENDING")

    def test_answers_a_repeated_withdrawal_that_was_cancelled(self) -> None:
        body = {"amount": 5, "scheduled_for": FUTURE}
        first = self.post(self.path("withdraw"), body, key=self.key)
        WithdrawalService.cancel(first.json()["id"])
        again = self.post(self.path("withdraw"), body, key=self.key)
        self.assert_replay(first, again)

    def test_accepts_the_same_request_in_another_form(self) -> None:
        """Row 12: another order, whitespace, or form of the same instant."""
        path = self.path("withdraw")
        first = self.post(
            path, f'{{"amount": 5, "scheduled_for": "{FUTURE}"}}', key=self.key
        )
        for body in (
            f'{{"scheduled_for":"{FUTURE}","amount":5}}',
            f' {{ "amount"\n: 5 , "scheduled_for" : "{FUTURE}" }}\t',
            '{"amount": 5, "scheduled_for": "2030-01-31T13:00:00.000+01:00"}',
        ):
            with self.subTest(body=body):
                self.assert_replay(first, self.post(path, body, key=self.key))

    def test_accepts_the_same_key_in_another_form(self) -> None:
        """Row 9: with or without quotes, in upper or lower case."""
        path, body, key = self.path("deposit"), {"amount": 5}, str(self.key)
        first = self.post(path, body, key=key)
        for same in (f'"{key}"', key.upper(), f'"{key.upper()}"', f" {key} ".strip()):
            with self.subTest(key=same):
                self.assert_replay(first, self.post(path, body, key=same))
        self.assert_money(self.alice, balance=5)

    def test_is_optional(self) -> None:
        """Row 10."""
        for _ in range(2):
            response = self.post(self.path("deposit"), {"amount": 5})
            self.assertNotIn("Idempotent-Replayed", response.headers)
        self.assert_money(self.alice, balance=10)

    def test_refuses_a_header_with_a_similar_name(self) -> None:
        """If it were ignored, its sender would think that a repetition is safe."""
        later = {"amount": 5, "scheduled_for": FUTURE}
        for action, body in (("deposit", {"amount": 5}), ("withdraw", later)):
            for name in (
                "X-Idempotency-Key",
                "Idempotence-Key",
                "Idempotency-Token",
                "Idempotancy-Key",
                "Idem-Potency-Key",
                "Idempotencykey",
            ):
                for key in (None, self.key):
                    with self.subTest(action, name=name, key=key), nothing_written():
                        answer = self.post(
                            self.path(action), body, key=key, **{name: str(self.key)}
                        )
                        self.assert_problem(
                            answer, 400, "idempotency_key_invalid", name
                        )

    def test_refuses_the_key_of_another_request(self) -> None:
        """Rows 13 and 14: another amount, wallet, endpoint or time."""
        withdrawal = {"amount": 5, "scheduled_for": FUTURE}
        later = {"amount": 5, "scheduled_for": "2030-01-31T12:00:00.000001Z"}
        deposit_key, withdrawal_key = uuid.uuid4(), uuid.uuid4()
        self.post(self.path("deposit"), {"amount": 5}, key=deposit_key)
        self.post(self.path("withdraw"), withdrawal, key=withdrawal_key)
        bobs = self.path("deposit", wallet=self.bob)
        nobodys = f"/wallets/{uuid.uuid4()}/deposit"
        for path, body, key in [
            (self.path("deposit"), {"amount": 6}, deposit_key),
            (bobs, {"amount": 5}, deposit_key),
            (nobodys, {"amount": 5}, deposit_key),
            (self.path("withdraw"), withdrawal, deposit_key),
            (self.path("withdraw"), later, withdrawal_key),
            (self.path("withdraw"), withdrawal | {"amount": 4}, withdrawal_key),
            (self.path("withdraw", wallet=self.bob), withdrawal, withdrawal_key),
            (self.path("deposit"), {"amount": 5}, withdrawal_key),
        ]:
            with self.subTest(path=path, body=body), nothing_written():
                response = self.post(path, body, key=key)
                self.assert_problem(response, 422, "idempotency_key_reused")


class IdempotencyRaceTest(Api, CommittingTestCase):
    """Row 15: twenty clients send the same key at once."""

    CLIENTS = 20

    def at_once(self, path: str, body: dict[str, Any]) -> list[Answer]:
        key, barrier = uuid.uuid4(), threading.Barrier(self.CLIENTS)
        answers: list[Answer] = []

        def client() -> None:
            http = Client(raise_request_exception=False)
            barrier.wait(timeout=30)
            answers.append(
                http.post(
                    path,
                    body,
                    content_type="application/json",
                    headers={"Idempotency-Key": str(key)},
                )
            )
            close_connections()

        threads = [threading.Thread(target=client) for _ in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return answers

    def assert_one_effect(self, answers: list[Answer], status: int) -> None:
        self.assertEqual([a.status_code for a in answers], [status] * self.CLIENTS)
        self.assertEqual(len({answer.content for answer in answers}), 1)
        first = [a for a in answers if "Idempotent-Replayed" not in a.headers]
        self.assertEqual(len(first), 1)
        self.assertEqual(Transaction.objects.count(), 1)

    def test_makes_one_deposit(self) -> None:
        answers = self.at_once(self.path("deposit"), {"amount": 7})
        self.assert_one_effect(answers, 200)
        self.assert_money(self.alice, balance=7)

    @marks.slow
    def test_makes_one_withdrawal(self) -> None:
        body = {"amount": 7, "scheduled_for": FUTURE}
        answers = self.at_once(self.path("withdraw"), body)
        self.assert_one_effect(answers, 201)

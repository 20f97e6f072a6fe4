"""Freezing, unfreezing and closing a wallet over HTTP, and what it refuses then."""

from __future__ import annotations

import json
import uuid
from typing import Any

from wallets.models.wallet_change import WalletChange
from wallets.tests import marks
from wallets.tests.api import FUTURE, Answer, Api, item, nothing_written
from wallets.tests.base import WalletTestCase

FREEZE = {"direction": "out", "reason": "a court order"}
CLOSE = {"reason": "the customer has left"}


class WalletLifeApiTest(Api, WalletTestCase):
    def act(self, action: str, body: Any = None, wallet: Any = None) -> Answer:
        return self.post(self.path(action, wallet=wallet), body or FREEZE)

    def state(self) -> str:
        return self.get(self.path()).json()["state"]

    def test_freezes_unfreezes_and_closes(self) -> None:
        for action, body, state in (
            ("freeze", FREEZE, "frozen_out"),
            ("freeze", FREEZE, "frozen_out"),
            ("freeze/", {**FREEZE, "direction": "in"}, "frozen"),
            ("unfreeze", FREEZE, "frozen_in"),
            ("unfreeze/", {**FREEZE, "direction": "both"}, "active"),
            ("close", CLOSE, "closed"),
            ("close/", CLOSE, "closed"),
        ):
            with self.subTest(action, body=body):
                response = self.act(action, body)
                self.assertEqual(response.status_code, 200, response.content)
                self.assertEqual(response.json()["state"], state)
                self.assertEqual(self.get(self.path()).json(), response.json())
        self.assertEqual(WalletChange.objects.count(), 5)

    def test_refuses_a_deposit_into_a_frozen_wallet(self) -> None:
        key = uuid.uuid4()
        self.act("freeze", {**FREEZE, "direction": "in"})
        with nothing_written():
            response = self.post(self.path("deposit"), {"amount": 5}, key=key)
            self.assert_problem(response, 409, "wallet_frozen")
            many = self.post("/deposits/", json.dumps([item(self.alice)]))
        self.assertEqual(many.json()[0]["problem"]["code"], "wallet_frozen")
        self.act("unfreeze", {**FREEZE, "direction": "in"})
        # The refusal has not used up the key.
        response = self.post(self.path("deposit"), {"amount": 5}, key=key)
        self.assertEqual(response.status_code, 200)

    def test_refuses_a_withdrawal_from_a_frozen_wallet(self) -> None:
        self.act("freeze")
        with nothing_written():
            body = {"amount": 5, "scheduled_for": FUTURE}
            response = self.post(self.path("withdraw"), body)
        self.assert_problem(response, 409, "wallet_frozen")

    def test_refuses_everything_of_a_closed_wallet(self) -> None:
        """Row 57 of the bad inputs."""
        self.act("close", CLOSE)
        for method, path, body in (
            ("POST", "deposit", {"amount": 5}),
            ("POST", "withdraw", {"amount": 5, "scheduled_for": FUTURE}),
            ("POST", "freeze", FREEZE),
            ("POST", "unfreeze", FREEZE),
            ("PATCH", "", {"reference": "x"}),
        ):
            with self.subTest(path), nothing_written():
                response = self.call(
                    method, self.path(path) if path else self.path(), body
                )
                self.assert_problem(response, 409, "wallet_closed")
        for path in ("", "transactions/", "statement/", "balance/"):
            found = self.get(self.path(path) if path else self.path())
            self.assertEqual(found.status_code, 200)

    def test_refuses_to_close_what_is_not_empty(self) -> None:
        self.deposit(5)
        with nothing_written():
            response = self.act("close", CLOSE)
        self.assert_problem(response, 409, "wallet_not_empty")

    def test_shows_what_a_withdrawal_does_if_its_wallet_is_frozen(self) -> None:
        for body, shown in (
            ({}, "wait"),
            ({"if_frozen": "wait"}, "wait"),
            ({"if_frozen": "fail"}, "fail"),
        ):
            planned = {"amount": 5, "scheduled_for": FUTURE, **body}
            key = uuid.uuid4()
            made = self.post(self.path("withdraw"), planned, key=key).json()
            self.assertEqual(made["if_frozen"], shown)
            path = self.path("transactions", made["id"], "")
            self.assertEqual(self.get(path).json(), made)
            again = self.post(self.path("withdraw"), planned, key=key)
            self.assertEqual(again.headers["Idempotent-Replayed"], "true")
            other = planned | {"if_frozen": "wait" if shown == "fail" else "fail"}
            response = self.post(self.path("withdraw"), other, key=key)
            self.assert_problem(response, 422, "idempotency_key_reused")

    def test_refuses_bad_input(self) -> None:
        bad: list[tuple[Any, str]] = [
            (b"", "body_required"),
            ({}, "invalid_request"),
            ({"direction": "out"}, "required"),
            ({"reason": "x"}, "required"),
            ({**FREEZE, "direction": "OUT"}, "direction_invalid"),
            ({**FREEZE, "direction": None}, "direction_invalid"),
            ({**FREEZE, "direction": ["out"]}, "direction_invalid"),
            ({**FREEZE, "reason": ""}, "reason_invalid"),
            ({**FREEZE, "reason": "  "}, "reason_invalid"),
            ({**FREEZE, "reason": "a\u202eb"}, "reason_invalid"),
            ({**FREEZE, "reason": "x" * 501}, "reason_invalid"),
            ({**FREEZE, "reason": 5}, "reason_invalid"),
            ({**FREEZE, "actor": "me"}, "unknown_field"),
            (b"[]", "json_invalid"),
        ]
        for action in ("freeze", "unfreeze"):
            for body, code in bad:
                with self.subTest(action, body=body), nothing_written():
                    response = self.post(self.path(action), body)
                    self.assert_problem(response, 400, code)
        for body, code in (({}, "required"), (FREEZE, "unknown_field")):
            with nothing_written():
                response = self.post(self.path("close"), body)
                self.assert_problem(response, 400, code)
        for value in ("WAIT", True, 5, []):
            body = {"amount": 5, "scheduled_for": FUTURE, "if_frozen": value}
            with self.subTest(value), nothing_written():
                response = self.post(self.path("withdraw"), body)
                self.assert_problem(response, 400, "if_frozen_invalid")

    def test_takes_null_for_what_was_not_chosen(self) -> None:
        """Generated clients send an optional field that was not set as null."""
        body = {"amount": 5, "scheduled_for": FUTURE, "if_frozen": None}
        made = self.post(self.path("withdraw"), body)
        self.assertEqual((made.status_code, made.json()["if_frozen"]), (201, "wait"))

    def test_answers_404_for_an_unknown_wallet(self) -> None:
        for action, body in (
            ("freeze", FREEZE),
            ("unfreeze", FREEZE),
            ("close", CLOSE),
        ):
            response = self.post(f"/wallets/{uuid.uuid4()}/{action}", body)
            self.assert_problem(response, 404, "wallet_not_found")


class WordsApiTest(Api, WalletTestCase):
    """The client's own words of deposits and withdrawals."""

    words = {
        "description": "Rent <b>'; DROP TABLE",
        "reference": "اجاره 7",
        "metadata": {"b": "2", "a": ""},
    }
    shown = words | {"metadata": {"a": "", "b": "2"}}

    def assert_shown(self, transaction: dict[str, Any]) -> None:
        found = {name: transaction[name] for name in self.words}
        self.assertEqual(found, self.shown)
        path = self.path("transactions", transaction["id"], "")
        self.assertEqual(self.get(path).json(), transaction)
        listed = self.get(self.path("transactions/")).json()
        self.assertIn(transaction, listed)

    @marks.slow
    def test_are_kept_with_a_deposit(self) -> None:
        key = uuid.uuid4()
        body = {"amount": 5, **self.words}
        first = self.post(self.path("deposit"), body, key=key)
        self.assert_shown(first.json()["transaction"])
        again = self.post(self.path("deposit"), body, key=key)
        self.assertEqual(again.content, first.content)

    def test_are_kept_with_a_withdrawal(self) -> None:
        body = {"amount": 5, "scheduled_for": FUTURE, **self.words}
        self.assert_shown(self.post(self.path("withdraw"), body).json())

    def test_are_kept_with_each_of_many_deposits(self) -> None:
        items = [item(self.alice), {**item(self.alice), **self.words}, item(self.bob)]
        answers = self.post("/deposits/", json.dumps(items)).json()
        self.assertEqual([one["result"] for one in answers], ["done"] * 3)
        self.assert_shown(answers[1]["transaction"])
        nothing = {"description": None, "reference": None, "metadata": {}}
        for one in (answers[0], answers[2]):
            found = {name: one["transaction"][name] for name in self.words}
            self.assertEqual(found, nothing)
        again = self.post("/deposits/", json.dumps(items)).json()
        self.assertEqual([one["result"] for one in again], ["replayed"] * 3)

    def test_belong_to_the_request_of_a_key(self) -> None:
        body = {"amount": 5, **self.words}
        for action, request in (
            ("deposit", body),
            ("withdraw", body | {"scheduled_for": FUTURE}),
        ):
            key = uuid.uuid4()
            self.post(self.path(action), request, key=key)
            for name, other in (
                ("description", "rent"),
                ("description", None),
                ("reference", "other"),
                ("metadata", {"a": ""}),
                ("metadata", {}),
            ):
                with self.subTest(action, name=name, other=other), nothing_written():
                    response = self.post(
                        self.path(action), request | {name: other}, key=key
                    )
                    self.assert_problem(response, 422, "idempotency_key_reused")

    def test_may_be_null_or_empty(self) -> None:
        for words in (
            {"description": None, "reference": None, "metadata": None},
            {"description": "", "metadata": {}},
        ):
            key = uuid.uuid4()
            first = self.post(self.path("deposit"), {"amount": 5, **words}, key=key)
            plain = self.post(self.path("deposit"), {"amount": 5}, key=key)
            self.assertEqual(plain.content, first.content)

    def test_may_be_the_same_for_many(self) -> None:
        for _ in range(2):
            body = {"amount": 5, "reference": "salary"}
            self.assertEqual(self.post(self.path("deposit"), body).status_code, 200)

    def test_are_refused_if_they_are_not_allowed(self) -> None:
        bad: dict[str, list[Any]] = {
            "description": ["a\0", "a\n", "\u202e", "\u200b", "x" * 256, 5, [], {}],
            "reference": ["", " a", "a\t", "x" * 256, 5, True],
            "metadata": [[], "a", {"a": 1}, {"": "a"}, {"a": {"b": "c"}}],
        }
        for name, values in bad.items():
            for value in values:
                for action, body in (
                    ("deposit", {"amount": 5}),
                    ("withdraw", {"amount": 5, "scheduled_for": FUTURE}),
                ):
                    with self.subTest(action, **{name: value}), nothing_written():
                        response = self.post(self.path(action), {**body, name: value})
                        self.assertEqual(response.status_code, 400)
                        code = response.json()["code"]
                        self.assertIn(code, (f"{name}_invalid", "json_invalid"))
                with nothing_written():
                    one = {**item(self.alice), name: value}
                    response = self.post("/deposits/", json.dumps([one]))
                self.assertIn(
                    (
                        response.json()[0]["problem"]["code"]
                        if response.status_code == 200
                        else response.json()["code"]
                    ),
                    (f"{name}_invalid", "json_invalid"),
                )

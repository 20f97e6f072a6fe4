"""What a refusal tells: what was expected, which name, which limit, what is in the way."""

from __future__ import annotations

import json
import re
import uuid

from django.conf import settings

from wallets.models.wallet import Wallet
from wallets.services.payouts import payout
from wallets.services.payouts.claiming import find_due
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.api import FUTURE, Api, item, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.tests.conformance import operations
from wallets.urls import ROUTES
from wallets.views.http.rest_framework import OperationView

_PLACE = re.compile("<([a-z_]+):([a-z_]+)>")


class WalletFormTest(Api, WalletTestCase):
    """Wherever a wallet is named by its UUID…"""

    def setUp(self) -> None:
        super().setUp()
        self.upper = str(self.alice.uuid).upper()

    def test_upper_case_is_refused_with_the_case_that_is_expected(self) -> None:
        right = {"from": str(self.bob.uuid), "to": str(self.alice.uuid), "amount": 1}
        key = str(uuid.uuid4())
        for name in ("from", "to"):
            wrong = right | {name: self.upper}
            with self.subTest(name), nothing_written():
                alone = self.post("/transfers/", wrong)
                problem = self.assert_problem(alone, 400, "wallet_invalid", name)
                self.assertIn("lower case", problem["detail"])
                many = json.dumps([wrong | {"idempotency_key": key}])
                (line,) = self.post("/transfers/", many).json()
                self.assertIn("lower case", line["problem"]["detail"])
        with nothing_written():
            wrong = item(self.alice) | {"wallet": self.upper}
            (line,) = self.post("/deposits/", json.dumps([wrong])).json()
        self.assertIn("lower case", line["problem"]["detail"])

    def test_upper_case_in_a_query_is_refused_likewise(self) -> None:
        problem = self.get(f"/transactions/?bank_reference={self.upper}").json()
        (error,) = problem["errors"]
        self.assertEqual(error["detail"], "The value must be a UUID, in lower case.")


class RepeatedNameTest(Api, WalletTestCase):
    """A body that has a name twice…"""

    def test_is_refused_with_that_name(self) -> None:
        for path, body, name in (
            (self.path("deposit"), '{"amount":1,"amount":2}', '"amount"'),
            (self.path("deposit"), '{"amount":1,"am\\u006funt":2}', '"amount"'),
            ("/wallets/", '{"metadata":{"a":"","b":"","b":""}}', '"b"'),
            ("/deposits/", '[{"a":1},{"wallet":1,"c":1,"c":2}]', '"c"'),
            ("/transfers/", '{"":1,"":2}', '""'),
            ("/transfers/", '{"\\u00fc":1,"ü":2}', '"ü"'),
        ):
            with self.subTest(body=body), nothing_written():
                problem = self.assert_problem(
                    self.post(path, body), 400, "json_invalid"
                )
                self.assertEqual(
                    problem["detail"], f"The body has the name {name} twice."
                )

    def test_never_gets_more_back_than_a_part_of_a_name_that_can_be_shown(self) -> None:
        for name, shown in (
            ("\\ud800", '"\\ud800"'),
            ("a\\u0000", '"a\\u0000"'),
            ("\\u202e", '"\\u202e"'),
            ("x" * 5000, f'"{"x" * 100}"'),
        ):
            body = f'{{"{name}":1,"{name}":2}}'
            answer = self.post(self.path("deposit"), body)
            problem = self.assert_problem(answer, 400, "json_invalid")
            self.assertEqual(problem["detail"], f"The body has the name {shown} twice.")


class MalformedBodyTest(Api, WalletTestCase):
    """A body that cannot be read…"""

    def test_is_refused_with_the_place(self) -> None:
        for body, told in (
            (b'{"amount": 1', "The body is not valid JSON: line 1, column 13."),
            (
                b'{"amount": 1,\n "x" 5}',
                "The body is not valid JSON: line 2, column 6.",
            ),
            (b'{"amount": "\xff"}', "The body is not UTF-8: byte 13."),
            (
                b'{"amount": 1, "reference": "\\u0000"}',
                'The body has NUL or a lone surrogate in the text of "reference".',
            ),
            (
                b'{"metadata": {"a": "\\ud800"}}',
                'The body has NUL or a lone surrogate in the text of "a".',
            ),
            (b'{"\\udfff": 1}', "The body has NUL or a lone surrogate in a name."),
        ):
            with self.subTest(body=body):
                problem = self.post(self.path("deposit"), body).json()
                self.assertEqual(problem["code"], "json_invalid")
                self.assertEqual(problem["detail"], told)


class LargeBodyTest(Api, WalletTestCase):
    """A body that is too large…"""

    def test_is_refused_with_the_limit_in_bytes(self) -> None:
        """By each operation that reads one; the document's example says the same."""
        values = {"transaction_id": "1", "correctable_id": "1"}
        asked = 0
        for route in ROUTES:
            served = getattr(route.view, "operations", ())
            template = "/" + _PLACE.sub(r"{\2}", route.path)
            path = "/" + _PLACE.sub(
                lambda found: values.get(found[1], str(self.alice.uuid)), route.path
            )
            for operation in served:
                if not operation.max_body or "corrections" in path:
                    continue
                with self.subTest(path=template, method=operation.method):
                    body = b" " * (operation.max_body + 1)
                    answer = self.call(operation.method, path, body)
                    problem = self.assert_problem(answer, 413, "content_too_large")
                    limit = f"{operation.max_body:,} bytes"
                    self.assertIn(limit, problem["detail"])
                    described = operations()[operation.method, template]
                    content = described["responses"]["413"]["content"]
                    (media_type,) = content.values()
                    shown = media_type["examples"]["content_too_large"]["value"]
                    self.assertEqual(shown, problem)
                    asked += 1
        self.assertGreater(asked, 8)
        self.assertTrue(issubclass(route.view, OperationView))

    def test_of_one_transfer_is_refused_with_the_limit_of_one(self) -> None:
        body = json.dumps({"from": "x" * settings.API_MAX_BODY_BYTES})
        problem = self.assert_problem(
            self.post("/transfers/", body), 413, "content_too_large"
        )
        self.assertIn(f"{settings.API_MAX_BODY_BYTES:,} bytes", problem["detail"])

    def test_of_a_page_is_refused_with_the_limit_of_pages(self) -> None:
        body = b"x" * (settings.PAGE_MAX_BODY_BYTES + 1)
        answer = self.post("/nowhere/", body, content_type="text/plain")
        problem = self.assert_problem(answer, 413, "content_too_large")
        self.assertIn(f"{settings.PAGE_MAX_BODY_BYTES:,} bytes", problem["detail"])


class ClosingTest(Api, WalletTestCase):
    """A wallet that cannot be closed…"""

    def told(self, wallet: Wallet | None = None) -> str:
        path = self.path("close", wallet=wallet)
        answer = self.post(path, {"reason": "the customer has left"})
        return self.assert_problem(answer, 409, "wallet_not_empty")["detail"]

    def planned(self, amount: int) -> int:
        body = {"amount": amount, "scheduled_for": FUTURE}
        return self.post(self.path("withdraw"), body).json()["id"]

    def test_says_all_that_is_in_the_way(self) -> None:
        self.deposit(500)
        self.deposit(9, self.bob)
        only_money = "The wallet is not empty. Balance: 500, held: 0 (minor units). "
        self.assertEqual(
            self.told(), f"{only_money}Withdrawals that have not ended: 0."
        )
        first = self.planned(5)
        self.assertEqual(
            self.told(),
            f"{only_money}Withdrawals that have not ended: 1, such as {first}.",
        )
        self.due_withdrawal(300)
        payout.claim(
            find_due(self.now), bank=self.bank.abilities, limit=1, now=self.now
        )
        self.planned(7)
        self.assertEqual(
            self.told(),
            "The wallet is not empty. Balance: 200, held: 300 (minor units). Withdrawals "
            f"that have not ended: 3, such as {first}.",
        )

    def test_counts_withdrawals_up_to_a_hundred(self) -> None:
        requests = [(self.alice.uuid, 1, self.after(9e6)) for _ in range(101)]
        made = [WithdrawalService.schedule(*one) for one in requests]
        self.assertIn(f"ended: more than 100, such as {made[0].pk}.", self.told())

    def test_says_nothing_of_another_wallet(self) -> None:
        self.planned(5)
        self.deposit(77, self.alice)
        self.deposit(3, self.bob)
        told = self.told(self.bob)
        self.assertNotIn("77", told)
        self.assertIn("Balance: 3, held: 0 ", told)
        self.assertIn("ended: 0.", told)

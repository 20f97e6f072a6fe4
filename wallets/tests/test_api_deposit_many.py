"""Many deposits in one request: each item has its own answer."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

from django.conf import settings
from django.test import Client

from wallets.models.base import MAX_MONEY
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import MAX_MANY
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.api import FUTURE, Answer, Api, item, nothing_written
from wallets.tests.base import CommittingTestCase, WalletTestCase, close_connections

PATH = "/deposits/"


class DepositManyApiTest(Api, WalletTestCase):
    def many(self, items: Any, **options: Any) -> Answer:
        return self.post(PATH, json.dumps(items), **options)

    def results(self, items: Any) -> list[str]:
        """Send the items; return the result of each, or the code of its problem."""
        response = self.many(items)
        self.assertEqual(response.status_code, 200, response.content)
        return [
            line["problem"]["code"] if "problem" in line else line["result"]
            for line in response.json()
        ]

    def test_answers_each_item_in_order(self) -> None:
        wallets = [self.alice, self.bob, self.alice]
        response = self.many([item(w, n) for n, w in enumerate(wallets, start=1)])
        self.assertEqual(response.status_code, 200)
        lines = response.json()
        self.assertEqual([line["result"] for line in lines], ["done"] * 3)
        self.assertEqual([line["transaction"]["amount"] for line in lines], [1, 2, 3])
        self.assertEqual([line["wallet"]["balance"] for line in lines], [1, 2, 4])
        self.assert_money(self.alice, balance=4)
        self.assert_money(self.bob, balance=2)

    def test_makes_each_statement_in_the_order_of_the_array(self) -> None:
        """Whatever the order of the keys, and with replays and refusals in between.

        Ids, and so lists, have another order: decision 10.
        """
        made = item(self.alice, 500, uuid.UUID(int=500))
        full = WalletService.create()
        self.assertEqual(self.results([made, item(full, MAX_MONEY)]), ["done"] * 2)
        items, expected = [], []
        for n in range(1, 25):
            key = uuid.UUID(int=1000 - n)
            between: list[tuple[Any, str]] = [
                (made, "replayed"),
                (item(self.bob, 0, key), "amount_invalid"),
                (
                    item(self.bob, 501, made["idempotency_key"]),
                    "idempotency_key_reused",
                ),
                (item(full, 1), "balance_limit"),
                (item(Wallet(uuid=uuid.uuid4()), 1), "wallet_not_found"),
            ]
            for one, result in (
                between[n % 5],
                (item(self.alice if n % 2 else self.bob, n, key), "done"),
            ):
                items.append(one)
                expected.append(result)
        self.assertEqual(self.results(items), expected)
        self.assertEqual(self.added_to(self.alice), [500, *range(1, 25, 2)])
        self.assertEqual(self.added_to(self.bob), [*range(2, 25, 2)])

    def added_to(self, wallet: Wallet) -> list[int]:
        """Return the amounts of a wallet's statement, in its order."""
        lines = self.get(self.path("statement/", wallet=wallet)).json()["movements"]
        sequences = [line["sequence"] for line in lines]
        self.assertEqual(sequences, [*range(1, len(lines) + 1)])
        return [line["amount"] for line in lines]

    @marks.slow
    def test_answers_as_for_a_deposit_of_its_own(self) -> None:
        key = uuid.uuid4()
        (line,) = self.many([item(self.alice, 5, key)]).json()
        alone = self.post(self.path("deposit"), {"amount": 5}, key=key)
        self.assertEqual(alone.headers["Idempotent-Replayed"], "true")
        self.assertEqual({"result": "done"} | alone.json(), line)

    def test_does_the_good_items_among_bad_ones(self) -> None:
        used = self.deposit(5).idempotency_key
        full = WalletService.create()
        self.deposit(MAX_MONEY - 1, full)
        good = item(self.alice, 7)
        cases = {
            "done": good,
            "item_invalid": 5,
            "required": {"wallet": good["wallet"], "amount": 1},
            "unknown_field": item(self.alice, 1) | {"note": "x"},
            "wallet_invalid": item(self.alice, 1) | {"wallet": "A" * 36},
            "amount_invalid": item(self.alice, "1"),
            "amount_too_large": item(self.alice, MAX_MONEY + 1),
            "idempotency_key_invalid": item(self.alice, 1, "x"),
            "wallet_not_found": item(Wallet(uuid=uuid.uuid4()), 1),
            "idempotency_key_reused": item(self.alice, 6, used),
            "balance_limit": item(full, 2),
            "invalid_request": {"amount": 1.0},
        }
        self.assertEqual(self.results(list(cases.values())), list(cases))
        self.assertEqual(self.results([good, item(full, 1)]), ["replayed", "done"])
        self.assert_money(self.alice, balance=12)

    def test_refuses_an_amount_as_a_deposit_of_its_own_would(self) -> None:
        wrong = [0, -1, 1.0, 1e3, "1", True, None, [], {}, 10**30, [1]]
        with nothing_written():
            response = self.many([item(self.alice, amount) for amount in wrong])
        for amount, line in zip(wrong, response.json(), strict=True):
            alone = self.post(self.path("deposit"), {"amount": amount})
            self.assertEqual(line["problem"], alone.json(), amount)

    def test_names_every_error_of_an_item_with_all_its_fields(self) -> None:
        wrong = {"wallet": 1, "amount": 1.0, "idempotency_key": None}
        with nothing_written():
            (line,) = self.many([wrong]).json()
        named = {error["field"] for error in line["problem"]["errors"]}
        self.assertEqual(named, set(wrong))

    def test_takes_a_key_in_either_case_for_the_same(self) -> None:
        for first, again in ((str.upper, str.lower), (str.lower, str.upper)):
            key = str(uuid.uuid4())
            items = [item(self.alice, 5, case(key)) for case in (first, again)]
            self.assertEqual(self.results(items), ["done", "replayed"])
            self.assertEqual(self.results(items), ["replayed", "replayed"])
        self.assert_money(self.alice, balance=10)

    def test_refuses_a_wallet_or_key_of_another_form(self) -> None:
        good = item(self.alice, 1)
        for name, value in good.items():
            if name == "amount":
                continue
            for wrong in (None, 5, "", [value], f" {value}", value[:-1], f"{value}\n"):
                with self.subTest(name=name, wrong=wrong), nothing_written():
                    code = "wallet_invalid" if name == "wallet" else f"{name}_invalid"
                    self.assertEqual(self.results([good | {name: wrong}]), [code])
        upper = good["idempotency_key"].upper()
        same = good | {"idempotency_key": upper}
        self.assertEqual(self.results([good, same]), ["done", "replayed"])

    def test_replays_what_was_made_before_with_the_same_bytes(self) -> None:
        items = [item(self.alice, 3), item(self.bob, 4)]
        first = self.many(items).content
        self.deposit(100)
        with nothing_written():
            again = self.many(items).content
        self.assertEqual(again, first.replace(b'"done"', b'"replayed"'))

    def test_sees_a_key_twice_in_one_request(self) -> None:
        key = uuid.uuid4()
        items = [item(self.alice, 5, key), item(self.alice, 5, key)]
        items += [item(self.alice, 6, key), item(self.bob, 5, key)]
        self.assertEqual(
            self.results(items),
            ["done", "replayed", "idempotency_key_reused", "idempotency_key_reused"],
        )
        self.assert_money(self.alice, balance=5)

    def test_refuses_the_key_of_a_withdrawal(self) -> None:
        key = uuid.uuid4()
        body = {"amount": 5, "scheduled_for": FUTURE}
        self.post(self.path("withdraw"), body, key=key)
        reused = self.results([item(self.alice, 5, key)])
        self.assertEqual(reused, ["idempotency_key_reused"])

    def test_does_not_consume_the_key_of_a_refused_item(self) -> None:
        key = uuid.uuid4()
        items = [item(self.alice, 0, key), item(self.alice, 1, key)]
        self.assertEqual(self.results(items), ["amount_invalid", "done"])

    def test_fills_a_wallet_up_to_its_cap_and_no_further(self) -> None:
        amounts = [MAX_MONEY - 3, 2, 2, 1]
        self.assertEqual(
            self.results([item(self.alice, amount) for amount in amounts]),
            ["done", "done", "balance_limit", "done"],
        )
        self.assert_money(self.alice, balance=MAX_MONEY)

    @marks.slow
    def test_takes_a_thousand_and_no_more(self) -> None:
        items = [item(self.alice, 1) for _ in range(MAX_MANY)]
        with nothing_written():
            response = self.many([*items, item(self.alice, 1)])
        self.assert_problem(response, 400, "too_many_items")
        # Also when the JSON has spaces.
        body = json.dumps(items, indent=4)
        self.assertLess(len(body), settings.API_MAX_BULK_BODY_BYTES)
        response = self.post(PATH, body)
        self.assertEqual(len(response.json()), MAX_MANY)
        self.assert_money(self.alice, balance=MAX_MANY)

    def test_does_nothing_for_an_empty_array(self) -> None:
        self.assertEqual(self.results([]), [])

    def test_refuses_a_body_that_is_not_an_array(self) -> None:
        good = item(self.alice, 1)
        for body in (json.dumps(good), "5", "null", '"x"', "[", "[{}", "[NaN]", "[1,]"):
            with self.subTest(body=body), nothing_written():
                self.assert_problem(self.post(PATH, body), 400, "json_invalid")
        twice = json.dumps([good]).replace('"amount"', '"amount": 2, "amount"')
        self.assert_problem(self.post(PATH, twice), 400, "json_invalid")
        self.assert_problem(self.post(PATH, "[[" * 5000), 400, "json_invalid")
        self.assert_problem(self.post(PATH), 400, "body_required")
        body = "[" + " " * settings.API_MAX_BULK_BODY_BYTES + "]"
        self.assert_problem(self.post(PATH, body), 413, "content_too_large")
        response = self.post(PATH, "[]", content_type="text/plain")
        self.assert_problem(response, 415, "unsupported_media_type")

    def test_takes_no_other_method_and_no_parameter(self) -> None:
        self.assert_problem(self.get(PATH), 405, "method_not_allowed")
        self.assert_problem(self.post(PATH + "?a=1", "[]"), 400, "parameter_unknown")


class DepositManyRaceTest(Api, CommittingTestCase):
    ROUNDS = 5

    def at_once(self, *bodies: str) -> list[list[Answer]]:
        """Send the bodies at once, each several times by its own client."""
        barrier = threading.Barrier(len(bodies))
        answers: list[list[Answer]] = [[] for _ in bodies]

        def client(number: int) -> None:
            http = Client(raise_request_exception=False)
            barrier.wait(timeout=30)
            for _ in range(self.ROUNDS):
                answer = http.post(
                    PATH, bodies[number], content_type="application/json"
                )
                answers[number].append(answer)
            close_connections()

        threads = [
            threading.Thread(target=client, args=[n]) for n in range(len(bodies))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return answers

    def test_does_each_item_once_whatever_the_order(self) -> None:
        """The clients send the same items in opposite orders."""
        wallets = [self.alice, self.bob, *(WalletService.create() for _ in range(8))]
        items = [item(wallet, 1) for wallet in wallets]
        answers = self.at_once(json.dumps(items), json.dumps(items[::-1]))
        results = []
        for each in answers[0] + answers[1]:
            self.assertEqual(each.status_code, 200, each.content)
            results += [line["result"] for line in each.json()]
        self.assertEqual(results.count("done"), len(items))
        self.assertEqual(results.count("replayed"), len(results) - len(items))
        self.assertEqual(Transaction.objects.count(), len(items))
        for wallet in wallets:
            self.assert_money(wallet, balance=1)

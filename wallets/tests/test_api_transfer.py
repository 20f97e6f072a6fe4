"""Transfers over HTTP: one or many, and what each side sees of them."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.conf import settings

from wallets.models.base import MAX_MONEY
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.services.transfers.transfer import MAX_MANY, transfer
from wallets.services.wallet import WalletService
from wallets.tests import marks
from wallets.tests.api import Answer, Api, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.tests.raw import update

PATH = "/transfers/"


class TransferApiCase(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)

    def body(self, amount: Any = 30, **changes: Any) -> dict[str, Any]:
        ends = {"from": str(self.alice.uuid), "to": str(self.bob.uuid)}
        return ends | {"amount": amount} | changes

    def item(self, amount: Any = 30, key: Any = None, **changes: Any) -> Any:
        key = str(key or uuid.uuid4())
        return self.body(amount, idempotency_key=key) | changes

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


class TransferApiTest(TransferApiCase):
    def test_answers_with_the_transfer_and_the_balance_of_the_payer(self) -> None:
        self.deposit(7, self.bob)
        answer = self.post(PATH, self.body(), key=uuid.uuid4())
        made = Transfer.objects.select_related("debit").get()
        self.assertEqual(answer.status_code, 201)
        self.assertEqual(
            answer.json(),
            {
                "wallet": {"uuid": str(self.alice.uuid), "balance": 70},
                "transfer": {
                    "id": str(made.uuid),
                    "from": str(self.alice.uuid),
                    "to": str(self.bob.uuid),
                    "amount": 30,
                    "created_at": answer.json()["transfer"]["created_at"],
                    "from_transaction": made.debit_id,
                    "to_transaction": made.credit_id,
                    "idempotency_key": str(made.debit.idempotency_key),
                    "description": None,
                    "reference": None,
                    "metadata": {},
                },
            },
        )
        self.assertNotIn("Idempotent-Replayed", answer.headers)
        shown = self.get(answer.headers["Location"].partition("testserver")[2])
        self.assertEqual(shown.json(), answer.json()["transfer"])

    def test_keeps_the_words_of_the_request_in_both_halves(self) -> None:
        words = {"description": "rent", "reference": "r-1", "metadata": {"a": "b"}}
        key = uuid.uuid4()
        answer = self.post(PATH, self.body(**words), key=key)
        made = answer.json()["transfer"]
        self.assertEqual({name: made[name] for name in words}, words)
        self.assertEqual(self.get(f"{PATH}{made['id']}/").json(), made)
        for wallet in (self.alice, self.bob):
            line = self.get(self.path("transactions/", wallet=wallet)).json()[0]
            self.assertEqual({name: line[name] for name in words}, words)
        again = self.post(PATH, self.body(**words), key=key)
        self.assertEqual(again.content, answer.content)
        for other in (self.body(), self.body(**words | {"metadata": {}})):
            answer = self.post(PATH, other, key=key)
            self.assert_problem(answer, 422, "idempotency_key_reused")
        for name, wrong in (("description", "a\n"), ("reference", ""), ("metadata", 1)):
            with nothing_written():
                answer = self.post(PATH, self.body(**{name: wrong}))
                self.assert_problem(answer, 400, f"{name}_invalid", name)

    def test_is_not_idempotent_without_a_key(self) -> None:
        for balance in (70, 40):
            answer = self.post(PATH, self.body())
            self.assertEqual(answer.json()["wallet"]["balance"], balance)

    def test_answers_a_repeated_key_with_the_same_bytes(self) -> None:
        key = uuid.uuid4()
        first = self.post(PATH, self.body(), key=key)
        self.deposit(5)
        with nothing_written():
            again = self.post(PATH, self.body(), key=f'"{str(key).upper()}"')
        self.assertEqual((again.status_code, again.content), (201, first.content))
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.headers["Location"], first.headers["Location"])

    def test_refuses_a_key_of_another_request(self) -> None:
        key = uuid.uuid4()
        self.post(PATH, self.body(), key=key)
        carol = str(WalletService.create().uuid)
        with nothing_written():
            for body in (
                self.body(31),
                self.body(to=carol),
                self.body(**{"from": carol}),
            ):
                answer = self.post(PATH, body, key=key)
                self.assert_problem(answer, 422, "idempotency_key_reused")
            answer = self.post(self.path("deposit"), {"amount": 30}, key=key)
            self.assert_problem(answer, 422, "idempotency_key_reused")

    def test_refuses_what_is_not_possible(self) -> None:
        nobody, carol = str(uuid.uuid4()), WalletService.create()
        full = WalletService.create()
        self.deposit(MAX_MONEY, full)
        for body, status, code, field in (
            (self.body(to=str(self.alice.uuid)), 400, "same_wallet", "to"),
            (self.body(to=nobody), 404, "wallet_not_found", "to"),
            (self.body(**{"from": nobody}), 404, "wallet_not_found", "from"),
            (self.body(101), 422, "insufficient_balance", None),
            (self.body(to=str(full.uuid)), 422, "balance_limit", None),
        ):
            with self.subTest(code, field=field), nothing_written():
                self.assert_problem(self.post(PATH, body), status, code, field)
        for columns, status, code in (
            ({"currency": "JPY"}, 422, "currency_mismatch"),
            ({"frozen_in": True}, 409, "wallet_frozen"),
            ({"closed": True}, 409, "wallet_closed"),
        ):
            update(Wallet, carol.pk, {"currency": settings.DEFAULT_CURRENCY} | columns)
            with self.subTest(code), nothing_written():
                answer = self.post(PATH, self.body(to=str(carol.uuid)))
                self.assert_problem(answer, status, code)

    def test_refuses_bad_input(self) -> None:
        good = json.dumps(self.body())
        for body, code, field in (
            ({}, "invalid_request", "from"),
            (self.body(0), "amount_invalid", "amount"),
            (self.body(-1), "amount_invalid", "amount"),
            (self.body(1.0), "amount_invalid", "amount"),
            (self.body("1"), "amount_invalid", "amount"),
            (self.body(True), "amount_invalid", "amount"),
            (self.body(None), "amount_invalid", "amount"),
            (self.body(MAX_MONEY + 1), "amount_too_large", "amount"),
            (self.body(10**30), "amount_too_large", "amount"),
            (self.body(to=str(self.bob.uuid).upper()), "wallet_invalid", "to"),
            (self.body(to=None), "wallet_invalid", "to"),
            (self.body(to=5), "wallet_invalid", "to"),
            (self.body(to="\u0000"), "json_invalid", None),
            (self.body(to="\ud800"), "json_invalid", None),
            (self.body(from_=1), "unknown_field", "from_"),
            (self.body(idempotency_key=str(uuid.uuid4())), "unknown_field", None),
            (self.body(balance=1), "unknown_field", "balance"),
            ("", "body_required", None),
            ("null", "json_invalid", None),
            ("5", "json_invalid", None),
            ('"x"', "json_invalid", None),
            ("{" * 50, "json_invalid", None),
            ("[" * 100_000, "json_invalid", None),
            (good[:-1], "json_invalid", None),
            (good + "x", "json_invalid", None),
            (good[:-1] + ',"amount":1}', "json_invalid", None),
            (good.replace(": 30", ": 1e3"), "amount_invalid", "amount"),
            (good.replace(": 30", ": NaN"), "json_invalid", None),
        ):
            with self.subTest(body=str(body)[:60]), nothing_written():
                answer = self.post(PATH, body)
                self.assert_problem(answer, 400, code, field)

    def test_refuses_a_bad_head(self) -> None:
        with nothing_written():
            for key in ("", "x", f"{uuid.uuid4()}, {uuid.uuid4()}"):
                answer = self.post(PATH, self.body(), key=key)
                self.assert_problem(answer, 400, "idempotency_key_invalid")
            answer = self.post(PATH, self.body(), content_type="text/plain")
            self.assert_problem(answer, 415, "unsupported_media_type")
            answer = self.post(PATH, self.body(), content_encoding="gzip")
            self.assert_problem(answer, 415, "unsupported_media_type")
            answer = self.post(f"{PATH}?x=1", self.body())
            self.assert_problem(answer, 400, "parameter_unknown")
            for method in ("GET", "PUT", "DELETE", "PATCH"):
                answer = self.call(method, PATH)
                self.assert_problem(answer, 405, "method_not_allowed")

    def test_bounds_the_body_of_one_as_elsewhere(self) -> None:
        limit = settings.API_MAX_BODY_BYTES
        body = json.dumps(self.body())
        self.assertEqual(self.post(PATH, body.ljust(limit)).status_code, 201)
        with nothing_written():
            answer = self.post(PATH, body.ljust(limit + 1))
            self.assert_problem(answer, 413, "content_too_large")

    def test_is_not_found_by_another_uuid(self) -> None:
        made = transfer(self.alice.uuid, self.bob.uuid, 1)
        for name in (uuid.uuid4(), self.alice.uuid, made.debit.idempotency_key):
            answer = self.get(f"{PATH}{name}/")
            self.assert_problem(answer, 404, "transfer_not_found")
        for name in (str(made.uuid).upper(), "1", "%00"):
            self.assert_problem(self.get(f"{PATH}{name}/"), 404, "not_found")


class TransferManyApiTest(TransferApiCase):
    def test_answers_each_item_in_order(self) -> None:
        back = {"from": str(self.bob.uuid), "to": str(self.alice.uuid)}
        items = [self.item(60), self.item(60), self.item(50, **back), self.item(90)]
        lines = self.many(items).json()
        self.assertEqual(
            [line["result"] for line in lines], ["done", "refused", "done", "done"]
        )
        self.assertEqual(lines[1]["problem"]["code"], "insufficient_balance")
        self.assertEqual(
            [line["wallet"]["balance"] for line in lines if "wallet" in line],
            [40, 10, 0],
        )
        self.assert_money(self.alice, balance=0)
        self.assert_money(self.bob, balance=100)

    def test_makes_each_statement_in_the_order_of_the_array(self) -> None:
        """Whatever the order of the keys, and with replays and refusals in between.

        Ids, and so lists, have another order: decision 10.
        """
        made = self.item(40, uuid.UUID(int=500))
        self.assertEqual(self.results([made]), ["done"])
        # With refusals it is made step by step; without, in one statement on PostgreSQL.
        for first, refused in ((1000, False), (2000, True)):
            items, expected = [made], ["replayed"]
            for n in range(1, 13):
                key = uuid.UUID(int=first - n)
                ends = {"from": str(self.alice.uuid), "to": str(self.bob.uuid)}
                back = {"from": ends["to"], "to": ends["from"]}
                wrong, code = (
                    (self.item(10**6, key), "insufficient_balance"),
                    (self.item(n, key, to=ends["from"]), "same_wallet"),
                    (self.item(41, made["idempotency_key"]), "idempotency_key_reused"),
                    (self.item(n, key, to=str(uuid.uuid4())), "wallet_not_found"),
                )[n % 4]
                if refused:
                    items.append(wrong)
                    expected.append(code)
                items.append(self.item(n, key, **(back if n % 2 else ends)))
                expected.append("done")
            with self.subTest(refused=refused):
                self.assertEqual(self.results(items), expected)
                for mine, odd, even in (
                    (self.alice, "transfer_in", "transfer_out"),
                    (self.bob, "transfer_out", "transfer_in"),
                ):
                    path = self.path("statement/", wallet=mine)
                    lines = self.get(path).json()["movements"][-12:]
                    self.assertEqual(
                        [(line["kind"], line["amount"]) for line in lines],
                        [(odd if n % 2 else even, n) for n in range(1, 13)],
                    )

    def test_answers_as_for_a_transfer_of_its_own(self) -> None:
        key = uuid.uuid4()
        (line,) = self.many([self.item(5, key)]).json()
        alone = self.post(PATH, self.body(5), key=key)
        self.assertEqual(alone.headers["Idempotent-Replayed"], "true")
        self.assertEqual({"result": "done"} | alone.json(), line)

    def test_replays_what_was_made_before_with_the_same_bytes(self) -> None:
        items = [self.item(3), self.item(4)]
        first = self.many(items).content
        self.deposit(100)
        with nothing_written():
            again = self.many(items).content
        self.assertEqual(again, first.replace(b'"done"', b'"replayed"'))

    def test_does_the_good_items_among_bad_ones(self) -> None:
        made = transfer(self.alice.uuid, self.bob.uuid, 5)
        full = WalletService.create()
        self.deposit(MAX_MONEY, full)
        good = self.item(7)
        cases = {
            "done": good,
            "item_invalid": 5,
            "required": self.body(1),
            "unknown_field": self.item(1) | {"note": "x"},
            "wallet_invalid": self.item(1, to="A" * 36),
            "amount_invalid": self.item("1"),
            "amount_too_large": self.item(MAX_MONEY + 1),
            "idempotency_key_invalid": self.item(1, "x"),
            "same_wallet": self.item(1, to=str(self.alice.uuid)),
            "wallet_not_found": self.item(1, to=str(uuid.uuid4())),
            "idempotency_key_reused": self.item(6, made.debit.idempotency_key),
            "insufficient_balance": self.item(100),
            "balance_limit": self.item(1, to=str(full.uuid)),
            "invalid_request": {"amount": 1.0},
        }
        self.assertEqual(self.results(list(cases.values())), list(cases))
        self.assertEqual(self.results([good]), ["replayed"])
        self.assert_money(self.alice, balance=88)

    def test_refuses_an_amount_as_a_transfer_of_its_own_would(self) -> None:
        wrong = [0, -1, 1.0, 1e3, "1", True, None, [], {}, 10**30, [1]]
        with nothing_written():
            response = self.many([self.item(amount) for amount in wrong])
        for amount, line in zip(wrong, response.json(), strict=True):
            alone = self.post(PATH, self.body(amount))
            self.assertEqual(line["problem"], alone.json(), amount)

    @marks.slow
    def test_takes_as_many_as_a_request_may_have(self) -> None:
        self.assertEqual(self.many([]).json(), [])
        items = [self.item(1) for _ in range(MAX_MANY + 1)]
        with nothing_written():
            self.assert_problem(self.many(items), 400, "too_many_items")
        results = self.results(items[:MAX_MANY])
        self.assertEqual(results.count("done"), 100)
        self.assertEqual(results.count("insufficient_balance"), MAX_MANY - 100)

    def test_ignores_a_key_of_the_whole_request(self) -> None:
        for key in ("x", uuid.uuid4()):
            answer = self.many([self.item(1)], key=key)
            self.assertEqual(answer.json()[0]["result"], "done")
            self.assertNotIn("Location", answer.headers)


class CounterpartyTest(TransferApiCase):
    """Each side sees the other one by name, and never its balance."""

    def setUp(self) -> None:
        super().setUp()
        self.deposit(1000, self.bob)
        update(Wallet, self.bob.pk, {"reference": "bob=1"})
        self.made = transfer(self.alice.uuid, self.bob.uuid, 30)
        self.sides = (
            (self.alice, self.bob, "bob=1", self.made.debit_id, "out"),
            (self.bob, self.alice, None, self.made.credit_id, "in"),
        )

    def test_is_in_the_list_and_in_the_transaction(self) -> None:
        for mine, other, reference, pk, way in self.sides:
            with self.subTest(way):
                lines = self.get(self.path("transactions/", wallet=mine)).json()
                self.assertEqual(
                    lines[0]["transaction_type"], f"TRANSFER_{way.upper()}"
                )
                expected = (str(self.made.uuid), str(other.uuid), reference)
                self.assertEqual(self.names(lines[0]), expected)
                self.assertEqual(self.names(lines[1]), (None, None, None))
                path = self.path("transactions", pk, "", wallet=mine)
                self.assertEqual(self.get(path).json(), lines[0])
                kind = f"?type=TRANSFER_{way.upper()}"
                path = self.path(f"transactions/{kind}", wallet=mine)
                self.assertEqual(self.get(path).json(), lines[:1])

    def names(self, line: dict[str, Any]) -> tuple[Any, ...]:
        return line["transfer"], line["counterparty"], line["counterparty_reference"]

    def test_is_in_the_statement(self) -> None:
        for mine, other, reference, pk, way in self.sides:
            with self.subTest(way):
                path = self.path("statement/", wallet=mine)
                for query in ("", "?from=2020-01-01T00:00:00Z"):
                    first, line = self.get(path + query).json()["movements"]
                    self.assertEqual(self.names(first), (None, None, None))
                    expected = (str(self.made.uuid), str(other.uuid), reference)
                    self.assertEqual(self.names(line), expected)
                    self.assertEqual(line["kind"], f"transfer_{way}")
                    self.assertEqual((line["transaction"], line["attempt"]), (pk, None))

    def test_is_in_the_csv_without_texts_of_clients(self) -> None:
        answer = self.get(self.path("statement/"), Accept="text/csv")
        text = answer.getvalue().decode()
        self.assertIn(f",70,{self.made.uuid},{self.bob.uuid},,\r\n", text)
        self.assertNotIn("bob=1", text)

    def test_cannot_be_cancelled(self) -> None:
        for mine, _, _, pk, _ in self.sides:
            answer = self.post(self.path("transactions", pk, "cancel", wallet=mine))
            self.assert_problem(answer, 409, "not_cancelable")

    def test_shows_no_balance_of_the_other_side(self) -> None:
        hers = b"".join(
            self.get(path).content
            for path in (
                self.path("transactions/"),
                self.path("statement/"),
                self.path("transactions", self.made.debit_id, ""),
                f"{PATH}{self.made.uuid}/",
            )
        )
        theirs = rb'":1030\b'  # a number: a time or a UUID may have these digits, too
        self.assertNotRegex(hers, theirs)
        statement = self.get(self.path("statement/", wallet=self.bob))
        self.assertRegex(statement.content, theirs)

    def test_is_in_the_list_of_all_wallets(self) -> None:
        lines = self.get("/transactions/?type=TRANSFER_IN").json()
        expected = (str(self.made.uuid), str(self.alice.uuid), None)
        self.assertEqual([self.names(line) for line in lines], [expected])

"""Wallets over HTTP."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.conf import settings

from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.tests.api import Api, nothing_written
from wallets.tests.base import WalletTestCase

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


class WalletApiTest(Api, WalletTestCase):
    def test_creates_an_empty_wallet(self) -> None:
        response = self.post("/wallets/")
        self.assertEqual(response.status_code, 201)
        wallet = response.json()
        self.assertEqual(list(wallet)[:3], ["uuid", "balance", "created_at"])
        self.assertEqual(
            {name: wallet[name] for name in list(wallet)[3:]},
            {
                "held": 0,
                "currency": settings.DEFAULT_CURRENCY,
                "state": "active",
                "reference": None,
                "metadata": {},
            },
        )
        self.assertEqual(wallet["balance"], 0)
        self.assertRegex(wallet["created_at"], TIME)
        self.assertTrue(Wallet.objects.filter(uuid=wallet["uuid"], balance=0).exists())

    def test_says_where_the_new_wallet_is(self) -> None:
        response = self.post("/wallets/")
        location = response.headers["Location"]
        self.assertEqual(
            location, f"http://testserver/wallets/{response.json()['uuid']}/"
        )
        self.assertEqual(self.get(location).content, response.content)

    def test_creates_without_a_body_with_and_without_a_content_type(self) -> None:
        """Row 16 of the bad inputs."""
        for body, content_type in [
            (b"", ""),
            (b"", "application/json"),
            (b"", "application/x-www-form-urlencoded"),
            (b"{}", "application/json"),
        ]:
            with self.subTest(body=body, content_type=content_type):
                response = self.post("/wallets/", body, content_type=content_type)
                self.assertEqual(response.status_code, 201)

    def test_takes_no_other_field_on_creation(self) -> None:
        for field in ("balance", "held", "state", "uuid", "__proto__"):
            with self.subTest(field), nothing_written():
                response = self.post("/wallets/", {field: 5})
                self.assert_problem(response, 400, "unknown_field", field)

    def test_creates_a_wallet_with_a_name(self) -> None:
        """Row 56 of the bad inputs: text for other languages is only text."""
        named = {
            "reference": "مشتری 1",
            "currency": "EUR",
            "metadata": {"b": "2", "a": "1 <b>'; --"},
        }
        response = self.post("/wallets/", named)
        self.assertEqual(response.status_code, 201)
        wallet = response.json()
        self.assertEqual({name: wallet[name] for name in named}, named)
        self.assertEqual(list(wallet["metadata"]), ["a", "b"])
        self.assertEqual(self.get(f"/wallets/{wallet['uuid']}/").json(), wallet)

    def test_takes_null_for_what_is_not_given(self) -> None:
        nothing = {"reference": None, "currency": None, "metadata": None}
        first, second = (self.post("/wallets/", nothing).json() for _ in range(2))
        self.assertNotEqual(first["uuid"], second["uuid"])
        self.assertEqual((first["reference"], first["metadata"]), (None, {}))

    def test_has_one_effect_for_each_key(self) -> None:
        key = uuid.uuid4()
        named = {"reference": "one", "metadata": {"plan": "gold"}}
        first = self.post("/wallets/", named, key=key)
        self.assertNotIn("Idempotent-Replayed", first.headers)
        changed = {"reference": "two", "metadata": {}}
        self.call("PATCH", f"/wallets/{first.json()['uuid']}/", changed)
        again = self.post("/wallets/", named, key=key)
        self.assertEqual(again.status_code, 201)
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.headers["Location"], first.headers["Location"])
        self.assertEqual(again.json(), first.json() | changed)

    def test_refuses_a_key_of_another_request(self) -> None:
        key, used = uuid.uuid4(), self.deposit(5).idempotency_key
        self.post("/wallets/", {"reference": "one"}, key=key)
        for other, body in (
            (key, b""),
            (key, {"reference": "two"}),
            (key, {"reference": "one", "metadata": {"a": "b"}}),
            (key, {"reference": "one", "currency": "EUR"}),
            (used, b""),
        ):
            with self.subTest(body=body), nothing_written():
                response = self.post("/wallets/", body, key=other)
                self.assert_problem(response, 422, "idempotency_key_reused")

    def test_refuses_a_reference_that_another_wallet_has(self) -> None:
        """Row 75 of the bad inputs."""
        key = uuid.uuid4()
        self.post("/wallets/", {"reference": "one"})
        with nothing_written():
            response = self.post("/wallets/", {"reference": "one"}, key=key)
            self.assert_problem(response, 409, "reference_taken")
        # A refusal does not use up the key, and names differ by every character.
        for reference in ("One", "oné", "one."):
            response = self.post("/wallets/", {"reference": reference})
            self.assertEqual(response.status_code, 201)
        response = self.post("/wallets/", {"reference": "two"}, key=key)
        self.assertEqual(response.status_code, 201)

    def test_refuses_words_that_are_not_allowed(self) -> None:
        """Rows 51, 52, 53, 54, 55 of the bad inputs."""
        texts = ["a\x00", "a\n", "a\r", "\x1b", "\u202e", "\u200b", "\ud800"]
        metadata = [{"a": text} for text in texts] + [{text: "a"} for text in texts]
        bad: dict[str, list[Any]] = {
            "reference": [*texts, "", " ", " a", "a ", "x" * 256, 5, True, [], {}],
            "currency": ["", "eur", "EU", "EURO", "ZZZ", "XAU", 978, [], "\x00UR"],
            "metadata": [
                *metadata,
                *([], "a", 5, True, [{}]),
                *({"a": 1}, {"a": None}, {"a": {}}, {"a": ["b"]}, {"": "a"}),
                {"x" * 65: "a"},
                {str(n): "" for n in range(51)},
                {"a": "x" * 5000},
                {"a": "é" * 2048},
            ],
        }
        for name, values in bad.items():
            for value in values:
                for method, path in (("POST", "/wallets/"), ("PATCH", self.path())):
                    if (method, name) == ("PATCH", "currency"):
                        continue
                    with self.subTest(method, **{name: value}), nothing_written():
                        response = self.call(method, path, {name: value})
                        code = response.json()["code"]
                        self.assertEqual(response.status_code, 400)
                        self.assertIn(code, (f"{name}_invalid", "json_invalid"))

    def test_takes_the_longest_words(self) -> None:
        longest = {"reference": "😀" * 255, "metadata": {"a": "é" * 2044}}
        wallet = self.post("/wallets/", longest).json()
        self.assertEqual({name: wallet[name] for name in longest}, longest)

    def test_changes_what_is_sent(self) -> None:
        for change, after in (
            ({"reference": "one"}, ("one", {})),
            ({"metadata": {"a": "1"}}, ("one", {"a": "1"})),
            ({"metadata": {"b": "2"}}, ("one", {"b": "2"})),
            ({"reference": "one"}, ("one", {"b": "2"})),
            ({}, ("one", {"b": "2"})),
            ({"reference": None}, (None, {"b": "2"})),
            ({"metadata": None}, (None, {})),
        ):
            with self.subTest(change=change):
                response = self.call("PATCH", self.path(), change)
                self.assertEqual(response.status_code, 200)
                wallet = response.json()
                self.assertEqual((wallet["reference"], wallet["metadata"]), after)
                self.assertEqual(self.get(self.path()).json(), wallet)
        changes = WalletChange.objects.filter(wallet=self.alice)
        self.assertEqual(
            list(changes.values_list("sequence", "event", "before", "after", "actor")),
            [
                (n, "changed", before, after, "client")
                for n, (before, after) in enumerate(
                    [
                        ('{"reference":null}', '{"reference":"one"}'),
                        ('{"metadata":{}}', '{"metadata":{"a":"1"}}'),
                        ('{"metadata":{"a":"1"}}', '{"metadata":{"b":"2"}}'),
                        ('{"reference":"one"}', '{"reference":null}'),
                        ('{"metadata":{"b":"2"}}', '{"metadata":{}}'),
                    ],
                    start=1,
                )
            ],
        )

    def test_refuses_a_change_that_cannot_be_made(self) -> None:
        self.call("PATCH", self.path(wallet=self.bob), {"reference": "bob"})
        for body, status, code in (
            ({"reference": "bob"}, 409, "reference_taken"),
            ({"currency": "EUR"}, 400, "unknown_field"),
            ({"balance": 5}, 400, "unknown_field"),
            (b"", 400, "body_required"),
            (b"[]", 400, "json_invalid"),
        ):
            with self.subTest(body=body), nothing_written():
                response = self.call("PATCH", self.path(), body)
                self.assert_problem(response, status, code)
        response = self.call("PATCH", f"/wallets/{uuid.uuid4()}/", {"reference": "x"})
        self.assert_problem(response, 404, "wallet_not_found")

    def test_shows_a_wallet_with_its_balance(self) -> None:
        self.deposit(700)
        response = self.get(self.path())
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json()["uuid"], str(self.alice.uuid))
        self.assertEqual(response.json()["balance"], 700)
        self.assertEqual(response.headers["Cache-Control"], "no-store")

    def test_answers_404_for_an_unknown_wallet(self) -> None:
        response = self.get(f"/wallets/{uuid.uuid4()}/")
        self.assert_problem(response, 404, "wallet_not_found")

    def test_lists_its_methods_on_options(self) -> None:
        response = self.call("OPTIONS", self.path())
        self.assertEqual((response.status_code, response.content), (204, b""))
        self.assertEqual(response.headers["Allow"], "GET, PATCH, HEAD, OPTIONS")

"""The history of a wallet over HTTP: statement, balance at a moment."""

from __future__ import annotations

import csv
import io
import uuid
from typing import Any
from unittest import mock
from urllib.parse import quote

from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from wallets.models.ledger import Movement
from wallets.services.reads.balance import balances
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import marks
from wallets.tests.api import Answer, Api, nothing_written
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does
from wallets.tests.test_api_transactions import links_of
from wallets.utils import instants
from wallets.views import statement as view

EARLY, LATE = "2001-01-01T00:00:00Z", "2100-01-01T00:00:00Z"

# Texts that are refused for every parameter that is an instant.
NO_INSTANTS = [
    "",
    "%00",
    "now",
    "1900000000",
    "2026-02-17",
    "2026-02-17T12:00:00",
    "2026-02-17 12:00:00Z",
    "2026-02-17T12:00Z",
    "2026-02-17T12:00:00+01:00",  # an unescaped plus is a space
    "2026-02-17T12:00:00%2B0100",
    "2026-02-17T12:00:00%2B24:00",
    "2026-02-17T12:00:00.Z",
    "2026-02-17T12:00:00.1234567890Z",
    "2026-02-30T12:00:00Z",
    "2026-02-17T24:00:00Z",
    "2026-02-17T12:00:60Z",
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00%2B14:00",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-2026-02-17T12:00:00Z",
    "2026-02-17T12:00:00Z%0A",
    "%D9%A2026-02-17T12:00:00Z",
    "x" * 3000,
]


class MomentsTest(Api, WalletTestCase):
    """Every parameter that is an instant."""

    parameters = [
        ("statement/", "from"),
        ("statement/", "to"),
        ("balance/", "at"),
        ("transactions/", "created_from"),
        ("transactions/", "created_to"),
    ]

    @marks.slow
    def test_refuses_what_is_no_instant(self) -> None:
        for path, name in self.parameters:
            for sent in NO_INSTANTS:
                with self.subTest(name=name, sent=sent[:40]), nothing_written():
                    response = self.get(self.path(path) + f"?{name}={sent}")
                    self.assert_problem(response, 400, "parameter_invalid", name)

    def test_refuses_it_twice(self) -> None:
        for path, name in self.parameters:
            response = self.get(self.path(path) + f"?{name}={EARLY}&{name}={EARLY}")
            self.assert_problem(response, 400, "parameter_repeated", name)

    def test_refuses_a_range_that_ends_before_it_begins(self) -> None:
        for path, start, end in [
            ("statement/", "from", "to"),
            ("transactions/", "created_from", "created_to"),
        ]:
            response = self.get(self.path(path) + f"?{start}={LATE}&{end}={EARLY}")
            self.assert_problem(response, 400, "parameter_invalid", start)
            for same in (EARLY, quote("2001-01-01T01:00:00+01:00")):
                response = self.get(self.path(path) + f"?{start}={EARLY}&{end}={same}")
                self.assertEqual(response.status_code, 200)

    def test_takes_the_first_and_the_last_instant_there_is(self) -> None:
        self.deposit(1)
        for path, name in self.parameters:
            for sent in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
                with self.subTest(name=name, sent=sent):
                    response = self.get(self.path(path) + f"?{name}={sent}")
                    self.assertEqual(response.status_code, 200, response.content)

    def test_refuses_parameters_of_other_endpoints(self) -> None:
        for path, name in [
            ("statement/", "at"),
            ("statement/", "status"),
            ("balance/", "from"),
            ("balance/", "limit"),
            ("transactions/", "from"),
        ]:
            response = self.get(self.path(path) + f"?{name}={EARLY}")
            self.assert_problem(response, 400, "parameter_unknown", name)

    def test_answers_404_for_a_wallet_that_does_not_exist(self) -> None:
        for path in ("statement/", "balance/"):
            response = self.get(f"/wallets/{uuid.uuid4()}/{path}")
            self.assert_problem(response, 404, "wallet_not_found")


class TimeRangeApiTest(Api, WalletTestCase):
    def test_filters_the_list_from_one_moment_to_before_another(self) -> None:
        made = [self.deposit(amount) for amount in (1, 2, 3)]
        times = [quote(instants.write(each.created_at)) for each in made]
        ids = [each.pk for each in made]
        for query, expected in [
            (f"?created_from={times[1]}", [ids[2], ids[1]]),
            (f"?created_to={times[1]}", [ids[0]]),
            (f"?created_from={times[0]}&created_to={times[2]}", [ids[1], ids[0]]),
            (f"?created_from={times[1]}&created_to={times[1]}", []),
            (f"?created_from={EARLY}&type=WITHDRAWAL", []),
        ]:
            with self.subTest(query=query):
                found = self.get(self.path("transactions/") + query).json()
                self.assertEqual([each["id"] for each in found], expected)

    def test_keeps_the_range_on_the_next_page(self) -> None:
        made = [self.deposit(1) for _ in range(4)]
        start = quote("2001-01-01T05:30:00.25+05:30")
        query = f"?limit=1&created_from={start}&created_to={LATE}"
        response = self.get(self.path("transactions/") + query)
        seen = response.json()
        while "next" in links_of(response):
            self.assertIn(
                "created_from=2001-01-01T00%3A00%3A00.250000Z",
                links_of(response)["next"],
            )
            response = self.get(links_of(response)["next"])
            seen += response.json()
        self.assertEqual([each["id"] for each in seen], [x.pk for x in made[::-1]])


class BalanceApiTest(Api, WalletTestCase):
    def balance(self, at: str = "") -> dict[str, Any]:
        response = self.get(self.path("balance/") + (f"?at={at}" if at else ""))
        self.assertEqual(response.status_code, 200, response.content)
        self.assertEqual(response.headers["Cache-Control"], "no-store")
        return response.json()

    def test_is_that_after_the_last_movement_up_to_the_moment(self) -> None:
        for amount in (1, 10, 100):
            self.deposit(amount)
        movements = list(Movement.objects.filter(wallet=self.alice))
        for movement in movements:
            at = instants.write(movement.created_at)
            expected = {
                "wallet": str(self.alice.uuid),
                "at": at,
                "balance": movement.balance_after,
                "sequence": movement.sequence,
            }
            self.assertEqual(self.balance(at), expected)

    def test_is_the_present_one_without_a_moment_and_in_the_future(self) -> None:
        self.deposit(5)
        for found in (self.balance(), self.balance(LATE)):
            self.assertEqual((found["balance"], found["sequence"]), (5, 1))
        self.assertRegex(self.balance()["at"], r"^20\d\d-.*Z$")
        self.assertEqual(self.balance(LATE)["at"], LATE)

    def test_is_the_same_at_its_own_moment_whatever_commits_meanwhile(self) -> None:
        self.deposit(5)

        def read(*asked: Any, **options: Any) -> Any:
            """Another client's deposit commits before, and one after the balance is read."""
            self.deposit(10)
            found = balances(*asked, **options)
            self.deposit(100)
            return found

        with mock.patch.object(view, "balances", read):
            found = self.balance()
        self.assertEqual((found["balance"], found["sequence"]), (15, 2))
        self.assertEqual(self.balance(found["at"]), found)

    def test_is_zero_before_the_wallet_was_opened(self) -> None:
        self.deposit(5)
        found = self.balance(EARLY)
        self.assertEqual((found["balance"], found["sequence"]), (0, 0))


class StatementApiTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.deposit(100)
        paid = self.due_withdrawal(30)
        WithdrawalService.execute(paid.pk, bank=self.bank)
        self.bank.script.append(Does.REFUSE)
        refused = self.due_withdrawal(20)
        WithdrawalService.execute(refused.pk, bank=self.bank)
        self.ids = [paid.pk, refused.pk]

    def statement(self, query: str = "", **headers: str) -> Answer:
        response = self.get(self.path("statement/") + query, **headers)
        self.assertEqual(response.status_code, 200)
        return response

    def test_shows_every_movement_and_what_it_did_to_the_balance(self) -> None:
        answer = self.statement().json()
        head = {key: answer[key] for key in list(answer)[:5]}
        self.assertEqual(
            head,
            {
                "wallet": str(self.alice.uuid),
                "from": None,
                "to": None,
                "opening_balance": 0,
                "closing_balance": 70,
            },
        )
        paid, refused = self.ids
        lines = [list(line.values())[2:8] for line in answer["movements"]]
        self.assertEqual(
            lines,
            [
                ["deposit", lines[0][1], None, 100, 100, 100],
                ["hold", paid, 1, 30, -30, 70],
                ["settle", paid, 1, 30, 0, 70],
                ["hold", refused, 1, 20, -20, 50],
                ["release", refused, 1, 20, 20, 70],
            ],
        )
        sequences = [line["sequence"] for line in answer["movements"]]
        self.assertEqual(sequences, [1, 2, 3, 4, 5])

    def test_is_walked_by_its_links_while_writes_happen(self) -> None:
        response = self.statement("?limit=2")
        pages = [response.json()]
        while "next" in links_of(response):
            self.deposit(1)
            response = self.get(links_of(response)["next"])
            self.assertEqual(response.status_code, 200, response.content)
            pages.append(response.json())
        seen = [line["sequence"] for page in pages for line in page["movements"]]
        self.assertEqual(seen, [1, 2, 3, 4, 5])
        ends = {(page["opening_balance"], page["closing_balance"]) for page in pages}
        self.assertEqual(ends, {(0, 70)})
        # A new statement has the movements that were written meanwhile.
        first = self.get(links_of(response)["first"]).json()
        self.assertEqual(first["closing_balance"], 72)

    def test_takes_one_query_for_the_wallet_and_one_for_a_later_page(self) -> None:
        url = links_of(self.statement("?limit=2"))["next"]
        # The queries: the wallet, both ends of the statement, the page.
        with CaptureQueriesContext(connection) as queries:
            self.get(url)
        asked = [one for one in queries if "SAVEPOINT" not in str(one["sql"])]
        self.assertLessEqual(len(asked), 3, asked)

    def test_covers_the_requested_period(self) -> None:
        movements = list(Movement.objects.filter(wallet=self.alice))
        start = instants.write(movements[1].created_at)
        end = instants.write(movements[3].created_at)
        answer = self.statement(f"?from={start}&to={end}").json()
        self.assertEqual((answer["from"], answer["to"]), (start, end))
        self.assertEqual(answer["opening_balance"], 100)
        self.assertEqual(answer["closing_balance"], 70)
        self.assertEqual([line["sequence"] for line in answer["movements"]], [2, 3])
        for query, balance in [(f"?to={EARLY}", 0), (f"?from={LATE}", 70)]:
            answer = self.statement(query).json()
            self.assertEqual(answer["movements"], [])
            self.assertEqual(answer["opening_balance"], balance)
            self.assertEqual(answer["closing_balance"], balance)

    def test_refuses_a_cursor_of_another_statement_or_list(self) -> None:
        cursor = links_of(self.statement("?limit=1"))["next"].partition("cursor=")[2]
        for amount in (1, 2):
            self.deposit(amount, self.bob)
        listed = self.get(self.path("transactions/") + "?limit=1")
        foreign = links_of(listed)["next"].partition("cursor=")[2]
        for query, wallet in [
            (f"?cursor={cursor}", self.bob),
            (f"?cursor={cursor}&from={EARLY}", self.alice),
            (f"?cursor={cursor[:-1]}", self.alice),
            (f"?cursor={foreign}", self.alice),
            ("?cursor=", self.alice),
            ("?cursor=%00", self.alice),
            ("?cursor=3", self.alice),
        ]:
            with self.subTest(query=query):
                response = self.get(self.path("statement/", wallet=wallet) + query)
                self.assert_problem(response, 400, "cursor_invalid", "cursor")

    def test_checks_the_content_of_a_cursor(self) -> None:
        """Also with a valid signature: the secret key may have leaked."""
        path, last = self.path("statement/"), self.alice.movements.count()
        signer = signing.Signer(sep=".", salt=f"wallets.cursor {path} ")
        for content in (
            [1, 0, last + 1],
            [last + 1, 0, last],
            [0, 1, last],
            [2, 3, 1],
            [1, 0, 5, last, 9],
            [1],
            [1, 0, "2"],
            [1, 0, True],
            [-1, -1, 1],
            [0, 0, 2**63],
            {"a": 1},
            "text",
            None,
        ):
            with self.subTest(content=content):
                cursor = signer.sign_object(content)
                response = self.get(f"{path}?cursor={cursor}")
                self.assert_problem(response, 400, "cursor_invalid", "cursor")
        cursor = signer.sign_object([1, 0, last])
        answer = self.get(f"{path}?cursor={cursor}").json()
        self.assertEqual(answer["closing_balance"], 70)

    def test_refuses_limits_as_the_list_does(self) -> None:
        for limit in ("0", "-1", "101", "1.0", "", "9" * 4000, "%D9%A1"):
            response = self.get(self.path("statement/") + f"?limit={limit}")
            self.assert_problem(response, 400, "parameter_invalid", "limit")

    def csv(self, query: str = "") -> list[dict[str, str]]:
        response = self.statement(query, Accept="text/csv")
        text = response.getvalue().decode()
        self.assertEqual(text.count("\r\n"), text.count("\n"))
        return list(csv.DictReader(io.StringIO(text)))

    def test_is_csv_on_request(self) -> None:
        opening, *rows, closing = self.csv(f"?from={EARLY}&to={LATE}")
        shown = self.statement().json()["movements"]
        as_text = [
            {
                key: "" if value is None else str(value)
                for key, value in line.items()
                if key != "counterparty_reference"  # a text of a client
            }
            for line in shown
        ]
        self.assertEqual(rows, as_text)
        nothing = {"transaction": "", "attempt": "", "amount": "", "change": ""}
        nothing |= {"transfer": "", "counterparty": ""}
        nothing |= {"corrects": "", "returns": ""}
        opened = {"sequence": "0", "at": EARLY, "kind": "opening", "balance_after": "0"}
        closed = {"sequence": "5", "at": LATE, "kind": "closing", "balance_after": "70"}
        self.assertEqual(opening, nothing | opened)
        self.assertEqual(closing, nothing | closed)

    def test_has_no_cell_that_a_spreadsheet_would_run(self) -> None:
        for row in self.csv():
            for cell in row.values():
                self.assertRegex(cell, r"\A(-?[0-9]+|[a-z]+|[0-9T:.-]+Z|)\Z")

    def test_refuses_pages_of_csv(self) -> None:
        for query in ("limit=5", "cursor=x"):
            response = self.get(self.path(f"statement/?{query}"), Accept="text/csv")
            name = query.partition("=")[0]
            self.assert_problem(response, 400, "parameter_invalid", name)

    def test_gives_the_preferred_media_type(self) -> None:
        for accept, expected in [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("application/json, text/csv", "application/json"),
            ("text/csv, application/json;q=0.9", "text/csv"),
            ("application/json;q=0.5, text/*", "text/csv"),
            ("text/csv;q=0, */*", "application/json"),
            ("TEXT/CSV", "text/csv"),
            ("text/csv; header=present", "text/csv"),
        ]:
            with self.subTest(accept=accept):
                response = self.statement(Accept=accept)
                found = response.headers["Content-Type"].partition(";")[0]
                self.assertEqual(found, expected)
        for accept in ("text/html", "text/csv;q=0", "application/json;q=0.000"):
            response = self.get(self.path("statement/"), Accept=accept)
            self.assert_problem(response, 406, "not_acceptable")
        # Other endpoints have no CSV.
        response = self.get(self.path("balance/"), Accept="text/csv")
        self.assert_problem(response, 406, "not_acceptable")

    def test_answers_head_without_a_body_in_both_forms(self) -> None:
        for accept in ("application/json", "text/csv"):
            response = self.call("HEAD", self.path("statement/"), Accept=accept)
            self.assertEqual(response.status_code, 200)
            self.assertEqual(b"".join(response), b"")


class StatementWalkTest(Api, WalletTestCase):
    @marks.slow
    def test_pages_add_up_however_long_they_are(self) -> None:
        @settings(max_examples=15, deadline=None, derandomize=True)
        @given(
            amounts=st.lists(st.integers(1, 10**6), max_size=12),
            limit=st.integers(1, 5),
        )
        def check(amounts: list[int], limit: int) -> None:
            wallet = WalletService.create()
            for amount in amounts:
                self.deposit(amount, wallet)
            url = self.path("statement/", wallet=wallet) + f"?limit={limit}"
            self.assertEqual(self.walk(url, limit), sum(amounts))

        check()

    def walk(self, url: str, limit: int) -> int:
        """Follow the links; return the balance that the changes add up to."""
        balance = 0
        while url:
            response = self.get(url)
            page = response.json()
            self.assertLessEqual(len(page["movements"]), limit)
            for line in page["movements"]:
                balance += line["change"]
                self.assertEqual(line["balance_after"], balance)
            url = links_of(response).get("next", "")
        self.assertEqual(page["closing_balance"], balance)
        return balance

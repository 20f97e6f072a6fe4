"""The transactions of all wallets over HTTP."""

from __future__ import annotations

import uuid
from typing import Any
from unittest import mock

from wallets.models.transaction import Transaction
from wallets.services.reads import listing
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests import builders
from wallets.tests.api import Api
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import Does
from wallets.tests.test_api_wallet_list import NEXT
from wallets.utils import instants
from wallets.utils.words import NO_WORDS, Words


class TransactionListTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rent = self.made(self.alice, 500, Words(reference="rent"))
        self.salary = self.made(self.bob, 700, Words("March", "salary"), at=1)
        self.plain = self.made(self.bob, 900, at=2)
        self.paid = builders.due_withdrawal(self.bob, 100, due=self.after(3660))
        self.paid = WithdrawalService.execute(
            self.paid.pk, bank=self.bank, now=self.after(3660)
        )
        self.failed = builders.due_withdrawal(self.alice, 9000, due=self.after(3720))
        self.failed = WithdrawalService.execute(
            self.failed.pk, bank=self.bank, now=self.after(3720)
        )

    def made(
        self, wallet: Any, amount: int, words: Any = NO_WORDS, at: float = 0
    ) -> Any:
        return WalletService.deposit(
            wallet.uuid, amount, words=words, now=self.after(at)
        )

    def found(self, query: str = "") -> list[int]:
        response = self.get(f"/transactions/{query}")
        self.assertEqual(response.status_code, 200, response.content)
        return [one["id"] for one in response.json()]

    def walked(self, path: str) -> list[list[int]]:
        """Return the pages from this one on, by following the links."""
        pages = []
        while path:
            response = self.get(path)
            pages.append([one["id"] for one in response.json()])
            link = NEXT.search(response.headers["Link"])
            path = link[1] if link else ""
        return pages

    def test_shows_all_newest_first_each_with_its_wallet(self) -> None:
        answer = self.get("/transactions/").json()
        rows = [self.failed, self.paid, self.plain, self.salary, self.rent]
        self.assertEqual([one["id"] for one in answer], [row.pk for row in rows])
        owners = [self.alice, self.bob, self.bob, self.bob, self.alice]
        for one, row, owner in zip(answer, rows, owners, strict=True):
            self.assertEqual(one["wallet"], str(owner.uuid))
            path = self.path("transactions", row.pk, "", wallet=owner)
            self.assertEqual(self.get(path).json(), one)

    def test_shows_those_that_fulfil_every_condition(self) -> None:
        reference = self.paid.attempts.get().reference
        made = instants.write(self.paid.created_at)
        due = instants.write(self.paid.scheduled_for)
        conditions: dict[str, tuple[Transaction, ...]] = {
            "reference=rent": (self.rent,),
            "reference=Rent": (),
            "reference=rent&type=WITHDRAWAL": (),
            f"bank_reference={reference}": (self.paid,),
            f"bank_reference={reference}&status=FAILED": (),
            f"bank_reference={uuid.uuid4()}": (),
            "status=FAILED": (self.failed,),
            "type=WITHDRAWAL": (self.failed, self.paid),
            "failure_code=insufficient_balance": (self.failed,),
            "failure_code=wallet_frozen": (),
            "amount_from=700&amount_to=900": (self.plain, self.salary),
            "amount_to=100": (self.paid,),
            f"scheduled_from={due}": (self.failed, self.paid),
            f"scheduled_to={due}": (),
            f"created_from={made}": (self.failed, self.paid),
            f"created_to={made}": (self.plain, self.salary, self.rent),
        }
        for query, rows in conditions.items():
            with self.subTest(query):
                self.assertEqual(self.found(f"?{query}"), [row.pk for row in rows])

    def test_finds_a_later_attempt_by_its_bank_reference(self) -> None:
        withdrawal = builders.due_withdrawal(self.bob, 50, due=self.now)
        self.bank.script.append(Does.REFUSE)
        for at in (0, 3600):
            WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.after(at))
        for attempt in withdrawal.attempts.all():
            found = self.found(f"?bank_reference={attempt.reference}")
            self.assertEqual(found, [withdrawal.pk])

    def test_has_pages_that_follow_each_other(self) -> None:
        Transaction.objects.update(reference="same")
        for query in ("", "reference=same&", "amount_from=1&", "type=DEPOSIT&"):
            with self.subTest(query):
                pages = self.walked(f"/transactions/?{query}limit=2")
                together = [pk for page in pages for pk in page]
                self.assertEqual(together, self.found(f"?{query}"))
                self.assertLessEqual({len(page) for page in pages[:-1]}, {2})

    def test_looks_at_a_bounded_number_of_rows_for_a_page(self) -> None:
        with mock.patch.object(listing, "WINDOW", 2):
            pages = self.walked("/transactions/?amount_to=600&type=DEPOSIT")
        self.assertEqual(pages, [[], [], [self.rent.pk]])

    def test_refuses_conditions_that_are_none(self) -> None:
        for query in (
            "reference=",
            "reference=%00",
            "bank_reference=1",
            f"bank_reference={str(uuid.uuid4()).upper()}",
            "status=pending",
            "type=TRANSFER",
            "failure_code=",
            "failure_code=nope",
            "amount_from=-1",
            "amount_from=2&amount_to=1",
            "scheduled_from=2026-02-17T12:00:00",
            "scheduled_from=2030-01-02T00:00:00Z&scheduled_to=2030-01-01T00:00:00Z",
            "created_to=now",
            "wallet=1",
            "limit=0",
            "cursor=%00",
        ):
            with self.subTest(query):
                response = self.get(f"/transactions/?{query}")
                self.assertEqual(response.status_code, 400)

    def test_has_only_a_get(self) -> None:
        response = self.post("/transactions/", {"amount": 5})
        self.assert_problem(response, 405, "method_not_allowed")

"""The list of all wallets over HTTP."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any
from unittest import mock

from wallets.models.wallet import Wallet
from wallets.services.reads import listing
from wallets.services.wallet import WalletService
from wallets.tests.api import Api
from wallets.tests.base import WalletTestCase

NEXT = re.compile(r'<http://testserver([^>]+)>; rel="next"')


class WalletListTest(Api, WalletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.carol = WalletService.create(
            reference="carol", currency="EUR", now=self.after(60)
        )
        self.dave = WalletService.create(reference="dave", now=self.after(120))
        self.deposit(500, self.carol)
        self.deposit(700, self.alice)

    def found(self, query: str = "") -> list[str]:
        response = self.get(f"/wallets/{query}")
        self.assertEqual(response.status_code, 200, response.content)
        return [one["uuid"] for one in response.json()]

    def walked(self, path: str) -> list[list[str]]:
        """Return the pages from this one on, by following the links."""
        pages = []
        while path:
            response = self.get(path)
            pages.append([one["uuid"] for one in response.json()])
            link = NEXT.search(response.headers["Link"])
            path = link[1] if link else ""
        return pages

    def uuids(self, *wallets: Wallet) -> list[str]:
        return [str(wallet.uuid) for wallet in wallets]

    def test_shows_all_wallets_newest_first(self) -> None:
        self.assertEqual(
            self.found(), self.uuids(self.dave, self.carol, self.bob, self.alice)
        )

    def test_shows_what_the_wallet_itself_shows(self) -> None:
        (carol,) = self.get("/wallets/?reference=carol").json()
        self.assertEqual(carol, self.get(self.path(wallet=self.carol)).json())

    def test_shows_those_that_fulfil_every_condition(self) -> None:
        moment = self.carol.created_at.isoformat().replace("+00:00", "Z")
        everybody = (self.dave, self.carol, self.bob, self.alice)
        conditions: dict[str, tuple[Wallet, ...]] = {
            "reference=carol": (self.carol,),
            "reference=Carol": (),
            "currency=EUR": (self.carol,),
            "currency=IRR": (self.dave, self.bob, self.alice),
            "state=active": everybody,
            "state=closed": (),
            "balance_from=500": (self.carol, self.alice),
            "balance_from=501": (self.alice,),
            "balance_to=500": (self.dave, self.carol, self.bob),
            "balance_from=500&balance_to=500": (self.carol,),
            "currency=EUR&balance_to=499": (),
            f"created_from={moment}": (self.dave, self.carol),
            f"created_to={moment}": (self.bob, self.alice),
        }
        for query, wallets in conditions.items():
            with self.subTest(query):
                self.assertEqual(self.found(f"?{query}"), self.uuids(*wallets))

    def test_has_pages_that_follow_each_other(self) -> None:
        for query in ("", "balance_to=700&", "created_from=2020-01-01T00:00:00Z&"):
            with self.subTest(query):
                pages = self.walked(f"/wallets/?{query}limit=3")
                self.assertEqual([len(page) for page in pages], [3, 1])
                self.assertEqual([*chain(*pages)], self.found())

    def test_keeps_wallets_of_one_moment_apart(self) -> None:
        Wallet.objects.update(created_at=self.now)
        pages = self.walked("/wallets/?limit=1")
        newest = Wallet.objects.order_by("-pk").values_list("uuid", flat=True)
        self.assertEqual([*chain(*pages)], [str(one) for one in newest])

    def test_looks_at_a_bounded_number_of_wallets_for_a_page(self) -> None:
        with mock.patch.object(listing, "WINDOW", 2):
            pages = self.walked("/wallets/?balance_from=700")
            self.assertEqual(pages, [[], self.uuids(self.alice), []])
            self.assertEqual(
                self.walked("/wallets/?reference=carol"), [self.uuids(self.carol)]
            )
            self.assertEqual([len(page) for page in self.walked("/wallets/")], [4])

    def test_finds_gold_of_an_earlier_release(self) -> None:
        Wallet.objects.filter(pk=self.dave.pk).update(currency="XAU")
        self.assertEqual(self.found("?currency=XAU"), self.uuids(self.dave))

    def test_refuses_conditions_that_are_none(self) -> None:
        for query in (
            "reference=",
            "reference=%00",
            "reference=%20a",
            "reference=" + "x" * 256,
            "currency=eur",
            "currency=*",
            "currency=XYZ",
            "state=ACTIVE",
            "state=",
            "balance_from=-1",
            "balance_from=1.0",
            "balance_from=%D9%A1",
            "balance_from=1e3",
            f"balance_to={10**15 + 1}",
            "balance_from=2&balance_to=1",
            "created_from=2026-01-01",
            "limit=0",
            "limit=101",
            "offset=5",
            "state=active&state=active",
        ):
            with self.subTest(query):
                self.assertEqual(self.get(f"/wallets/?{query}").status_code, 400)

    def test_refuses_a_cursor_of_another_list(self) -> None:
        page = self.get("/wallets/?limit=1")
        cursor = NEXT.search(page.headers["Link"])[1].partition("cursor=")[2]  # type: ignore[index]
        for query in (
            f"state=active&cursor={cursor}",
            "cursor=%00",
            "cursor=x.y",
            f"cursor={cursor}x",
        ):
            with self.subTest(query):
                response = self.get(f"/wallets/?{query}")
                self.assert_problem(response, 400, "cursor_invalid")

    def test_survives_a_position_that_nobody_gave(self) -> None:
        """A signing key can become known."""
        numbers: Any = [2**63 - 1, 1]
        with mock.patch(
            "wallets.views.http.pagination.signing.Signer.unsign_object",
            return_value=numbers,
        ):
            response = self.get("/wallets/?cursor=x")
        self.assert_problem(response, 400, "cursor_invalid")

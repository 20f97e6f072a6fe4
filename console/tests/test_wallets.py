"""The list of wallets: how an operator finds one."""

from __future__ import annotations

import re
from itertools import chain
from unittest import mock
from urllib.parse import quote, urlencode

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.queries import wallets as queries
from console.tests.base import ConsoleTestCase, staff, views
from wallets.models.wallet import Wallet
from wallets.services.reads import listing
from wallets.services.wallet import WalletService
from wallets.services.wallets import life
from wallets.tests.base import OSCAR

HOSTILE = ("\ud800", "x" * 10_000, "a\u202eb", "a\nb", "é" * 256)
A_UUID = "11111111-1111-4111-8111-111111111111"


class ListCase(ConsoleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.carol = WalletService.create(
            reference="customer-17", currency="KWD", now=self.after(60)
        )
        self.dave = WalletService.create(
            reference="customer-17", tenant="acme", currency="EUR", now=self.after(120)
        )

    def get(self, **query: str):
        return self.client.get(reverse("console:wallets"), query)

    def shown(self, page) -> list[str]:
        """Return the wallets in the order of the list."""
        return re.findall(
            r'data-label="Wallet"><a [^>]*title="([^"]+)"', page.content.decode()
        )

    def uuids(self, *wallets: Wallet) -> list[str]:
        return [str(wallet.uuid) for wallet in wallets]


class WalletListTest(ListCase):
    """The list of wallets…"""

    def test_shows_all_the_newest_first(self) -> None:
        everybody = self.uuids(self.dave, self.carol, self.bob, self.alice)
        self.assertEqual(self.shown(self.get()), everybody)

    def test_shows_amounts_with_the_digits_of_their_currency(self) -> None:
        self.deposit(1_234_567, self.carol)
        self.assertContains(self.get(), "1,234.567 KWD")

    def test_finds_a_reference_in_all_tenants(self) -> None:
        page = self.get(find=" customer-17 ")
        self.assertEqual(self.shown(page), self.uuids(self.dave, self.carol))
        self.assertContains(page, "acme")
        for other in ("customer-1", "Customer-17", "nobody"):
            with self.subTest(other):
                self.assertContains(self.get(find=other), "No wallet fits.")

    def test_goes_to_a_wallet_by_its_uuid(self) -> None:
        to = reverse("console:wallet", args=[self.bob.uuid])
        for text in (self.bob.uuid, self.bob.uuid.hex, str(self.bob.uuid).upper()):
            with self.subTest(text):
                answer = self.get(find=str(text), state="closed")
                self.assertRedirects(answer, to, fetch_redirect_response=False)
        self.assertContains(self.get(find=A_UUID), "No wallet fits.")

    def test_finds_a_reference_that_is_a_uuid(self) -> None:
        uuid = str(self.bob.uuid)
        erin = WalletService.create(reference=uuid)
        self.assertEqual(self.shown(self.get(find=uuid)), self.uuids(erin))

    def test_filters(self) -> None:
        life.freeze(self.bob.uuid, "out", reason="asked for", actor=OSCAR)
        life.close(self.carol.uuid, reason="asked for", actor=OSCAR)
        for query, expected in (
            ({"state": "closed"}, [self.carol]),
            ({"state": "frozen_out"}, [self.bob]),
            ({"state": "active"}, [self.dave, self.alice]),
            ({"currency": "KWD"}, [self.carol]),
            ({"currency": "eur"}, [self.dave]),
            ({"tenant": "acme"}, [self.dave]),
            ({"tenant": "Acme"}, []),
            ({"tenant": "acme", "currency": "KWD"}, []),
            ({"find": "customer-17", "tenant": "acme"}, [self.dave]),
            ({"find": "customer-17", "state": "closed"}, [self.carol]),
        ):
            with self.subTest(query=query):
                page = self.get(**query)
                self.assertEqual(self.shown(page), self.uuids(*expected))
                self.assertContains(page, "Clear")

    def test_has_pages_that_neither_skip_nor_repeat(self) -> None:
        moment = self.after(300)
        for _ in range(5):  # several at the same moment
            WalletService.create(now=moment)
        whole = self.shown(self.get())
        self.assertEqual(len(whole), 9)
        with mock.patch.object(queries, "PAGE", 2):
            self.assertEqual([*chain(*self.walked())], whole)
            self.assertEqual(
                [*chain(*self.walked(state="active", currency="IRR"))],
                whole[:5] + whole[7:],
            )

    def walked(self, **query: str) -> list[list[str]]:
        """Return the wallets of each page, by following the links."""
        pages, link = [], "?" + urlencode(query)
        while link:
            page = self.client.get(reverse("console:wallets") + link)
            pages.append(self.shown(page))
            found = re.search(r'rel="next" href="([^"]+)"', page.content.decode())
            link = found[1].replace("&amp;", "&") if found else ""
        return pages

    def test_says_that_a_page_has_looked_at_a_part_only(self) -> None:
        with mock.patch.object(listing, "WINDOW", 2):
            self.assertEqual(
                self.walked(currency="IRR"),
                [[], self.uuids(self.bob, self.alice), []],
            )
            page = self.get(currency="IRR")
        self.assertContains(page, "No wallet fits among those that")
        self.assertContains(page, "A page looks at 10,000 wallets at most")
        self.assertContains(page, 'rel="next"')
        with mock.patch.object(queries, "PAGE", 2):
            self.assertNotContains(self.get(), "A page looks at")

    def test_is_reached_from_every_page(self) -> None:
        link = f'href="{reverse("console:wallets")}"'
        self.assertContains(self.client.get("/console/"), link)
        self.client.force_login(staff("nina", "view_alarm"))
        page = self.client.get("/console/alarms")
        self.assertNotContains(page, link)

    def test_costs_as_many_queries_for_many_wallets_as_for_one(self) -> None:
        def cost() -> int:
            with CaptureQueriesContext(connection) as queries:
                self.get()
            return len(queries)

        few = cost()
        for _ in range(20):
            WalletService.create(reference=None)
        self.assertEqual(cost(), few)


@override_settings(DEBUG=False)
class InputTest(ListCase):
    """What nobody types…"""

    def test_is_answered_by_a_sentence_beside_its_field(self) -> None:
        for field, texts, words in (
            (
                "find",
                HOSTILE[1:],
                "The reference must be 1 to 255 printable characters",
            ),
            ("state", (*HOSTILE, "open"), "Select a valid choice"),
            ("currency", (*HOSTILE, "EURO", "€"), "The currency must be a code"),
            ("tenant", (*HOSTILE, "a b"), "at most 63 letters"),
            (
                "after",
                (*HOSTILE, "x", "1", "1_", "1e400_1", "nan_1", "1_0", f"1_{9**30}"),
                "There is no such page",
            ),
        ):
            for text in texts:
                query = quote(text.encode("utf-8", "surrogatepass"))
                with self.subTest(field=field, text=text[:10]):
                    page = self.client.get(f"/console/wallets?{field}={query}")
                    self.assertContains(page, 'role="alert"', count=1)
                    self.assertContains(page, words)
                    self.assertEqual(self.shown(page), [])
                    self.assertNotContains(page, "No wallet fits")

    def test_finds_nothing_where_it_may_be_a_reference(self) -> None:
        page = self.client.get("/console/wallets?find=%ED%A0%80")
        self.assertContains(page, "No wallet fits.")

    def test_is_refused_with_nul(self) -> None:
        for field in ("find", "state", "currency", "tenant", "after"):
            answer = self.client.get(f"/console/wallets?{field}=a%00b")
            self.assertContains(answer, "NUL", status_code=400)

    def test_may_be_the_place_of_any_row(self) -> None:
        for after in ("-62135596800_1", "253402300799_1", f"0_{2**63 - 1}"):
            with self.subTest(after):
                self.assertEqual(self.get(after=after).status_code, 200)


class ReferenceTest(ListCase):
    """A wallet's reference…"""

    def setUp(self) -> None:
        super().setUp()
        WalletService.change(self.alice.uuid, {"reference": "alice & co"})
        self.deposit(1000)

    def pages(self) -> list[str]:
        withdrawal = self.withdrawal_in_review(10)
        return [
            "withdrawals",
            "review",
            f"withdrawals/{withdrawal.pk}",
            f"withdrawals/{withdrawal.pk}/resolve/paid",
        ]

    def test_is_shown_wherever_the_wallet_is(self) -> None:
        for path in self.pages():
            with self.subTest(path):
                self.assertContains(
                    self.client.get(f"/console/{path}"), "alice &amp; co"
                )

    def test_is_shown_to_who_may_see_wallets_only(self) -> None:
        nina = staff("nina", *(one for one in views() if one != "view_wallet"))
        self.client.force_login(nina)
        for path in self.pages()[:3]:
            with self.subTest(path):
                page = self.client.get(f"/console/{path}")
                self.assertContains(page, str(self.alice.uuid))
                self.assertNotContains(page, "alice &amp; co")

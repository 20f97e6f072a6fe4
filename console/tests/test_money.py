"""Amounts are shown with the digits and the code of their wallet's currency."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import SimpleTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from console.templatetags.console import money
from console.tests.base import ConsoleTestCase
from wallets.services.operations import alarm
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.builders import due_withdrawal


class MoneyTest(SimpleTestCase):
    """An amount…"""

    def test_has_the_digits_of_its_currency(self) -> None:
        for amount, currency, shown in (
            (1_234_567, "KWD", "1,234.567 KWD"),
            (1_234_567, "EUR", "12,345.67 EUR"),
            (1_234_567, "JPY", "1,234,567 JPY"),
            (1_234_567, "CLF", "123.4567 CLF"),
            (5, "EUR", "0.05 EUR"),
            (-5, "EUR", "-0.05 EUR"),
            (0, "EUR", "0.00 EUR"),
            (10**24 + 1, "EUR", "10,000,000,000,000,000,000,000.01 EUR"),
        ):
            with self.subTest(amount=amount, currency=currency):
                self.assertEqual(money(amount, currency), shown)

    def test_counts_rials_as_the_specification_does(self) -> None:
        self.assertEqual(money(1000, "IRR"), "1,000 IRR")

    def test_stays_whole_in_a_wallet_whose_currency_has_no_digits(self) -> None:
        for currency in ("XAU", "ZZZ"):
            self.assertEqual(money(1000, currency), f"1,000 {currency}")

    def test_is_shown_as_it_is_without_a_currency_or_in_a_damaged_row(self) -> None:
        self.assertEqual(money(1000), "1,000")
        self.assertEqual(money(None, "EUR"), "\u2013")
        self.assertEqual(money("abc", "EUR"), "abc")


class TemplateTest(SimpleTestCase):
    """Each template of ours…"""

    # What a variable with an amount is called, and where a tag shows one.
    AMOUNT = re.compile(
        r"\{\{ *[\w.]*\b(amount|balance|held|left|balance_after)\b.*?\}\}"
    )
    # Those whose amount is a text already, or what was typed into a form.
    TEXTS = ("{{ amount }}", "{{ form.amount.")

    def test_shows_no_amount_without_its_currency(self) -> None:
        shown = 0
        for path in sorted(Path(settings.BASE_DIR).glob("*/templates/**/*.html")):
            for found in self.AMOUNT.finditer(path.read_text(encoding="utf-8")):
                shown += 1
                if not found[0].startswith(self.TEXTS):
                    with self.subTest(path.name):
                        self.assertIn("|money:", found[0])
        self.assertGreater(shown, 20)


@override_settings(THIRD_PARTY_CURRENCY="KWD")
class PagesTest(ConsoleTestCase):
    """The pages of a wallet's money…"""

    def test_name_its_currency(self) -> None:
        wallet = WalletService.create(currency="KWD")
        deposited = self.deposit(1_234_567, wallet)
        withdrawal = due_withdrawal(wallet, 234_500, due=self.now)
        waiting = due_withdrawal(wallet, 50, due=self.after(60))
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        alarm.raise_alarm("needs_review", waiting, detail="x")
        for path, shown in (
            ("", ("<small>0.050 KWD</small>",)),
            ("alarms", ("attempt 0 · 0.050 KWD<",)),
            (f"wallets/{wallet.uuid}", ("1,000.067 KWD", "+1,234.567 KWD")),
            (f"wallets/{wallet.uuid}", ("<small>in KWD</small>", "<span>2k</span>")),
            (f"wallets/{wallet.uuid}", ("From 1,234.567 KWD at", "to 1,000.067 KWD")),
            ("wallets", ("1,000.067 KWD",)),
            (f"wallets/{wallet.uuid}/freeze", ("1,000.067 KWD",)),
            ("withdrawals", ("234.500 KWD", "0.050 KWD")),
            (f"withdrawals/{withdrawal.pk}", ("<h1>234.500 KWD", "<b>234.500 KWD")),
            (f"withdrawals/{withdrawal.pk}/return", ("234.500 KWD", "0.001 KWD;")),
            (f"withdrawals/{waiting.pk}/cancel", ("0.050 KWD",)),
            (f"transactions/{deposited.pk}/correct", ("1,234.567 KWD", "0.001 KWD<")),
        ):
            page = self.client.get(f"/console/{path}")
            with self.subTest(path):
                for text in shown:
                    self.assertContains(page, text)
                self.assertNotContains(page, "minor units")


class AlarmsTest(ConsoleTestCase):
    """The pages with alarms…"""

    def test_cost_no_query_for_the_currency_of_an_alarm(self) -> None:
        def cost(path: str) -> int:
            cache.clear()
            with CaptureQueriesContext(connection) as queries:
                self.client.get(path)
            return len(queries)

        paths = ("/console/alarms", "/console/")
        alarm.raise_alarm("needs_review", self.due_withdrawal(5), detail="x")
        few = [cost(path) for path in paths]
        for _ in range(3):
            alarm.raise_alarm("needs_review", self.due_withdrawal(5), detail="x")
        self.assertEqual([cost(path) for path in paths], few)

"""Amounts are shown with the digits and the code of their wallet's currency."""

from __future__ import annotations

from django.test import SimpleTestCase, override_settings

from console.templatetags.console import money
from console.tests.base import ConsoleTestCase
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


@override_settings(THIRD_PARTY_CURRENCY="KWD")
class PagesTest(ConsoleTestCase):
    """The pages of a wallet's money…"""

    def test_name_its_currency(self) -> None:
        wallet = WalletService.create(currency="KWD")
        deposited = self.deposit(1_234_567, wallet)
        withdrawal = due_withdrawal(wallet, 234_500, due=self.now)
        waiting = due_withdrawal(wallet, 50, due=self.after(60))
        WithdrawalService.execute(withdrawal.pk, bank=self.bank, now=self.now)
        for path, shown in (
            (f"wallets/{wallet.uuid}", ("1,000.067 KWD", "+1,234.567 KWD")),
            (f"wallets/{wallet.uuid}", ("in units of 0.001 KWD",)),
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

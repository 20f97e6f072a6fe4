"""Test cases of the console: the cast of `wallets.tests`, and oscar logged in."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.core.cache import cache

from wallets.models.transaction import Transaction
from wallets.services import resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank


def staff(name: str, *, operates: bool) -> User:
    """A member of staff; one who operates may press buttons."""
    user = User.objects.create_user(
        name, is_staff=True
    )  # no password: logged in by force
    if operates:
        user.user_permissions.add(
            Permission.objects.get(
                codename="change_transaction", content_type__app_label="wallets"
            )
        )
    return user


class ConsoleTestCase(WalletTestCase):
    """Oscar, an operator, is logged in; olga may only look."""

    def setUp(self) -> None:
        super().setUp()
        cache.clear()
        self.oscar = staff("oscar", operates=True)
        self.olga = staff("olga", operates=False)
        self.client.force_login(self.oscar)

    def execute(self, amount: int, *does: Does, bank: FakeBank | None = None):
        """A withdrawal that was due and has been executed once."""
        bank = bank or self.bank
        bank.script.extend(does)
        withdrawal = self.due_withdrawal(amount)
        return WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)

    def withdrawal_in_review(self, amount: int) -> Transaction:
        """The bank cannot tell whether it paid."""
        withdrawal = self.execute(amount, Does.LOSE)
        resolver.resolve_due(bank=FakeBank(BARE), limit=10, now=self.after(60))
        withdrawal.refresh_from_db()
        assert withdrawal.needs_review
        return withdrawal

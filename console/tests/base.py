"""Test cases of the console: the users of `wallets.tests`, with Oscar logged in."""

from __future__ import annotations

from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.cache import cache

from wallets.models.transaction import Transaction
from wallets.services.payouts import resolver
from wallets.services.withdrawal import WithdrawalService
from wallets.tests.base import WalletTestCase
from wallets.tests.fakes import BARE, Does, FakeBank


def staff(name: str, *permissions: str) -> User:
    """Return a member of staff with these permissions, by codename.

    Those of `wallets` alone, or of another application as `app.codename`.
    """
    user = User.objects.create_user(
        name, is_staff=True
    )  # no password: the tests use force_login
    for each in permissions:
        application, _, codename = each.rpartition(".")
        label = application or "wallets"
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=label, codename=codename)
        )
    return user


def views() -> list[str]:
    """Return the codename of every view permission."""
    models = apps.get_app_config("wallets").get_models()
    return [f"view_{model._meta.model_name}" for model in models]


class ConsoleTestCase(WalletTestCase):
    """Oscar, an operator, is logged in. Olga may see everything, but not act."""

    def setUp(self) -> None:
        super().setUp()
        cache.clear()
        self.oscar = staff("oscar", "change_transaction")
        self.olga = staff("olga", *views())
        self.client.force_login(self.oscar)

    def execute(self, amount: int, *does: Does, bank: FakeBank | None = None):
        """Return a withdrawal that was due and has been executed once."""
        bank = bank or self.bank
        bank.script.extend(does)
        withdrawal = self.due_withdrawal(amount)
        return WithdrawalService.execute(withdrawal.pk, bank=bank, now=self.now)

    def withdrawal_in_review(self, amount: int) -> Transaction:
        """Return a withdrawal of which the bank cannot tell whether it paid."""
        withdrawal = self.execute(amount, Does.LOSE)
        resolver.resolve_due(bank=FakeBank(BARE), limit=10, now=self.after(60))
        withdrawal.refresh_from_db()
        assert withdrawal.needs_review
        return withdrawal

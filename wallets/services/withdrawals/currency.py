"""Which wallets the bank can pay. A payment names no currency: docs/bank.md."""

from __future__ import annotations

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.lookups import IsNull

from wallets.errors import CurrencyNotPayable
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet

# The setting's value for a bank that knows the currency by the wallet.
ANY = "*"


def is_payable(wallet: Wallet) -> bool:
    """Whether the bank takes amounts of this wallet for what they are."""
    return settings.THIRD_PARTY_CURRENCY in (ANY, wallet.currency)


def check_payable(wallet: Wallet) -> None:
    """Refuse a wallet whose amounts the bank would take for another currency's.

    :raises CurrencyNotPayable: the bank does not pay the wallet's currency.
    """
    if not is_payable(wallet):
        raise CurrencyNotPayable(
            f"The wallet {wallet.uuid} has {wallet.currency}, and the bank pays "
            f"{settings.THIRD_PARTY_CURRENCY}."
        )


def payable(withdrawals: QuerySet[Transaction]) -> QuerySet[Transaction]:
    """Leave out the withdrawals of wallets that the bank cannot pay."""
    if settings.THIRD_PARTY_CURRENCY == ANY:
        return withdrawals
    return withdrawals.filter(_has_payable_wallet(True))


def not_payable() -> QuerySet[Transaction]:
    """Return the withdrawals that wait, because the bank does not pay their currency.

    They were scheduled before THIRD_PARTY_CURRENCY had its value.
    """
    waiting = Transaction.objects.filter(
        Transaction.has_not_ended(),
        transaction_type=Transaction.TransactionType.WITHDRAWAL,
    ).exclude(status=Transaction.Status.PROCESSING)
    if settings.THIRD_PARTY_CURRENCY == ANY:
        return waiting.none()
    return waiting.filter(_has_payable_wallet(False))


def _has_payable_wallet(expected: bool) -> IsNull:
    """As `is_payable`, for a query; `expected`: whether it must be."""
    wallets = Wallet.objects.filter(
        pk=OuterRef("wallet"), currency=settings.THIRD_PARTY_CURRENCY
    )
    # With EXISTS, MariaDB would join the wallets and sort all that is pending.
    return IsNull(Subquery(wallets.values("pk")[:1]), not expected)

"""Creates wallets, deposits and withdrawals for tests, through the services."""

from __future__ import annotations

from datetime import datetime, timedelta

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService


def wallet_with(amount: int) -> Wallet:
    """Return a wallet with this balance."""
    wallet = WalletService.create()
    if amount:
        deposit(wallet, amount)
    wallet.refresh_from_db()
    return wallet


def deposit(wallet: Wallet, amount: int) -> Transaction:
    return WalletService.deposit(wallet.uuid, amount)


def due_withdrawal(wallet: Wallet, amount: int, *, due: datetime) -> Transaction:
    """Return a withdrawal that was scheduled an hour before it is due."""
    return WithdrawalService.schedule(
        wallet.uuid, amount, due, now=due - timedelta(hours=1)
    )

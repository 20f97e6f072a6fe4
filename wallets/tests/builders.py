"""Creates wallets, deposits and withdrawals for tests, through the services."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import (
    DepositReceipt,
    DepositRequest,
    deposit_many,
)
from wallets.services.wallet import WalletService
from wallets.services.wallets.create import CreateRequest, create_many
from wallets.services.withdrawal import WithdrawalService
from wallets.services.withdrawals.schedule import (
    ScheduleReceipt,
    ScheduleRequest,
    schedule_many,
)


def wallets(count: int, *, now: datetime | None = None) -> list[Wallet]:
    """Return new wallets, created by one call."""
    made = create_many([CreateRequest()] * count, now=now)
    return [_done(one).wallet for one in made]


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


def deposit_receipt(
    wallet_uuid: UUID, amount: int, key: UUID | None = None
) -> DepositReceipt:
    """The receipt of one deposit, or its refusal raised."""
    request = DepositRequest(wallet_uuid, amount, key or uuid4())
    return _done(*deposit_many([request]))


def schedule_receipt(
    wallet_uuid: UUID, amount: int, when: datetime, key: UUID, **options: Any
) -> ScheduleReceipt:
    """The receipt of one withdrawal, or its refusal raised."""
    request = ScheduleRequest(wallet_uuid, amount, when, key)
    return _done(*schedule_many([request], **options))


def _done(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result

"""The services: every change of money and of a withdrawal's state, and every read."""

from wallets.services.wallet import WalletService
from wallets.services.withdrawal import WithdrawalService

__all__ = ["WalletService", "WithdrawalService"]

"""The wallet as clients see it."""

from __future__ import annotations

from typing import Any

from wallets.models.wallet import Wallet
from wallets.utils import instants


def wallet_line(wallet: Wallet) -> dict[str, Any]:
    """`balance` is what may be spent now, in minor units."""
    return {
        "uuid": str(wallet.uuid),
        "balance": wallet.balance,
        "created_at": instants.write(wallet.created_at),
    }

"""Pages of all wallets, newest first. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wallets.models.wallet import Wallet
from wallets.services.reads.listing import Found, Page, Position, page_of

# The columns of each state.
_STATES: dict[str, dict[str, bool]] = {
    Wallet.State.ACTIVE: {"closed": False, "frozen_in": False, "frozen_out": False},
    Wallet.State.FROZEN_IN: {"closed": False, "frozen_in": True, "frozen_out": False},
    Wallet.State.FROZEN_OUT: {"closed": False, "frozen_in": False, "frozen_out": True},
    Wallet.State.FROZEN: {"closed": False, "frozen_in": True, "frozen_out": True},
    Wallet.State.CLOSED: {"closed": True},
}


@dataclass(frozen=True, slots=True)
class WalletQuery:
    """Which wallets, and how many. Balances in minor units; None: no such condition."""

    after: Position | None = None
    count: int = 50
    reference: str | None = None
    currency: str | None = None
    state: str | None = None
    balance_from: int | None = None
    balance_to: int | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


def list_wallets(asked: WalletQuery, *, tenant: str = "") -> Page[Wallet]:
    """Return a page of the tenant's wallets; "": of all. See `services.reads.listing`.

    Both ends of balances count. A reference is unique within a tenant only.
    """
    conditions: dict[str, Any] = {
        "reference": asked.reference,
        "currency": asked.currency,
        "balance__gte": asked.balance_from,
        "balance__lte": asked.balance_to,
    }
    known = {name: value for name, value in conditions.items() if value is not None}
    if asked.state is not None:
        known |= _STATES[asked.state]
    return page_of(
        Wallet.objects.filter(tenant=tenant) if tenant else Wallet.objects.all(),
        after=asked.after,
        count=asked.count,
        created_from=asked.created_from,
        created_to=asked.created_to,
        others=known,
        found=Found.IN_WINDOWS if asked.reference is None else Found.AT_ONCE,
    )

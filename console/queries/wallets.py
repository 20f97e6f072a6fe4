"""Pages of wallets: filtered, newest first, by cursor. Reads only.

The service of `GET /wallets/` reads them.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from wallets.models.wallet import Wallet
from wallets.services.reads.listing import Page
from wallets.services.reads.wallet_list import WalletQuery, list_wallets

PAGE = 50


def page(asked: WalletQuery, *, tenant: str = "") -> Page[Wallet]:
    """Return one page of a tenant's wallets; "": of all.

    It may have fewer rows than it could, or none, and yet a following page.
    """
    return list_wallets(replace(asked, count=PAGE), tenant=tenant)


def of_uuid(text: str) -> UUID | None:
    """Return the UUID in this text, if a wallet has it."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if Wallet.objects.filter(uuid=found).exists() else None

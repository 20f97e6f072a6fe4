"""Transfers for clients; many in one call. Nothing is written or locked."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from wallets.models.transfer import Transfer


def transfers_by_uuid(
    uuids: Sequence[UUID], *, tenant: str = ""
) -> list[Transfer | Transfer.DoesNotExist]:
    """Return the transfers with their wallets and debits, or `DoesNotExist`. One query.

    For a tenant only those between two wallets of it exist.
    """
    rows = Transfer.objects.select_related("from_wallet", "to_wallet", "debit")
    if tenant:
        rows = rows.filter(from_wallet__tenant=tenant, to_wallet__tenant=tenant)
    found = {row.uuid: row for row in rows.filter(uuid__in=set(uuids))}
    return [
        found.get(one) or Transfer.DoesNotExist(f"no transfer {one}") for one in uuids
    ]

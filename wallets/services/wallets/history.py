"""Changes of a wallet: a guarded UPDATE and an append-only row, together.

Nothing else changes a wallet's reference, metadata and life. A closed wallet is never
changed.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.utils.database.transactions import guarded_update, lock_rows
from wallets.utils.words import canonical, metadata_of

# What a change may change, as `shown` names it.
NAMES = ("reference", "metadata", "state")


def lock(wallet_uuid: UUID) -> Wallet:
    """Lock the wallet against everything, also new transactions; return it.

    Call inside a transaction. Deposits and claims lock it too. On PostgreSQL schedules
    take a weaker lock, which this one waits for.

    :raises Wallet.DoesNotExist: no such wallet.
    """
    found = lock_rows(Wallet.objects.filter(uuid=wallet_uuid), against_new_rows=True)
    if not found:
        raise Wallet.DoesNotExist(f"no wallet {wallet_uuid}")
    wallet: Wallet = found[0]
    return wallet


def shown(wallet: Wallet) -> dict[str, Any]:
    """Return what can change of a wallet, by the names and in the form of the API."""
    return {
        "reference": wallet.reference,
        "metadata": metadata_of(wallet.metadata),
        "state": wallet.state,
    }


def as_created(wallets: Collection[Wallet]) -> dict[int, dict[str, Any]]:
    """Return reference and metadata with which the wallets were created, by id.

    The first change of each shows it as `before`. One query, if one was changed.
    """
    first = {wallet.pk: shown(wallet) for wallet in wallets}
    changed = [wallet.pk for wallet in wallets if wallet.change_count]
    if changed:
        rows = WalletChange.objects.filter(wallet__in=changed).order_by("-sequence")
        for pk, before in rows.values_list("wallet", "before"):
            first[pk] |= json.loads(before)
    return {
        pk: {"reference": values["reference"], "metadata": values["metadata"]}
        for pk, values in first.items()
    }


def record(
    wallet: Wallet,
    event: str,
    columns: dict[str, Any],
    *,
    actor: str,
    reason: str = "",
    now: datetime,
) -> None:
    """Set the columns of a locked wallet, in the database and in memory.

    Call inside a transaction. Writes the change; if nothing differs, writes nothing.

    :raises LostRace: another transaction has changed the wallet without its lock.
    """
    before = shown(wallet)
    for name, value in columns.items():
        setattr(wallet, name, value)
    after = shown(wallet)
    changed = [name for name in NAMES if before[name] != after[name]]
    if not changed:
        return

    # After this point the change must be written.
    wallet.change_count += 1
    guarded_update(
        Wallet,
        {"pk": wallet.pk, "change_count": wallet.change_count - 1},
        change_count=wallet.change_count,
        **columns,
    )
    WalletChange.objects.create(
        wallet=wallet,
        sequence=wallet.change_count,
        event=event,
        before=canonical({name: before[name] for name in changed}),
        after=canonical({name: after[name] for name in changed}),
        actor=actor,
        reason=reason,
        created_at=now,
    )

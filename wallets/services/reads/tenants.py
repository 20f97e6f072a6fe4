"""The tenants of wallets: kept in memory, because a wallet's tenant never changes.

Reads only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery

from wallets.models.wallet import Wallet
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    run_in_transaction,
)

# The most wallets that a process keeps; those that were asked for last stay.
MOST_KEPT = 50_000

_kept: OrderedDict[UUID, str] = OrderedDict()
_lock = threading.Lock()


def tenant_of_wallet() -> Subquery:
    """Return the tenant of a row's wallet, as an expression of a query.

    Looked up for each row that is read, by the wallet's id. A join could begin with all
    wallets of the tenant.
    """
    return Subquery(Wallet.objects.filter(pk=OuterRef("wallet_id")).values("tenant"))


def tenants_of(uuids: Collection[UUID]) -> dict[UUID, str]:
    """Return the tenants of the wallets that exist, by UUID.

    One query for those that are not kept; none if all are. Safe in threads.
    """
    found: dict[UUID, str] = {}
    with _lock:
        for one in uuids:
            if one in _kept:
                _kept.move_to_end(one)
                found[one] = _kept[one]
    # A wallet that does not exist may be created later, so that is not kept.
    missing = set(uuids) - found.keys()
    if missing:
        read = _read(missing)
        found |= read
        with _lock:
            _kept.update(read)
            while len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)
    return found


def _read(uuids: Collection[UUID]) -> dict[UUID, str]:
    rows = Wallet.objects.filter(uuid__in=uuids).values_list("uuid", "tenant")
    if connection.vendor != "postgresql":
        return dict(rows)  # a transaction would take the lock of SQLite
    return run_in_transaction(
        lambda: dict(rows.all()), patience=CLIENT_PATIENCE_SECONDS, one_statement=True
    )

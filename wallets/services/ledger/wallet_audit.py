"""Verifies names and lives of wallets: reads everything, changes nothing.

A part of `services.ledger.ledger_audit`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db.models import F

from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.ledger.finding import Finding
from wallets.utils.words import CODES, metadata_of

CHUNK = 2000


def verify_lives() -> Iterator[Finding]:
    """Yield what is wrong with lives, waiting withdrawals, histories and tenants."""
    closed = Wallet.objects.filter(closed=True)
    full = closed.exclude(balance=0, held=0).values_list("uuid", "balance", "held")
    for uuid, balance, held in full.iterator(chunk_size=CHUNK):
        detail = f"closed, with {balance} and {held} held"
        yield Finding("closed_is_empty", f"wallet {uuid}", detail)
    left = Transaction.objects.filter(Transaction.has_not_ended(), wallet__closed=True)
    for pk, uuid in left.values_list("pk", "wallet__uuid").iterator(chunk_size=CHUNK):
        detail = f"not ended, and its wallet {uuid} is closed"
        yield Finding("closed_has_ended", f"transaction {pk}", detail)
    lost = Transaction.objects.filter(waits_for_wallet=True, wallet__has_waiting=False)
    for pk in lost.values_list("pk", flat=True).iterator(chunk_size=CHUNK):
        detail = "waits for a wallet that does not know it: it would never be paid"
        yield Finding("waiting_is_known", f"transaction {pk}", detail)
    strange = Wallet.objects.exclude(currency__in=CODES)
    for uuid, code in strange.values_list("uuid", "currency").iterator(
        chunk_size=CHUNK
    ):
        detail = f"{code!r} is no currency of ISO 4217"
        yield Finding("currency", f"wallet {uuid}", detail)
    yield from _verify_histories()
    yield from _verify_tenants()


def _verify_tenants() -> Iterator[Finding]:
    """A transaction was made by a caller of its wallet's tenant, or an unlimited one."""
    own = Transaction.objects.exclude(tenant="").exclude(tenant=F("wallet__tenant"))
    rows = own.values_list("pk", "tenant", "wallet__tenant")
    for pk, tenant, its in rows.iterator(chunk_size=CHUNK):
        detail = f"made by tenant {tenant!r}, and its wallet is one of {its!r}"
        yield Finding("tenant", f"transaction {pk}", detail)
    unmarked = Transaction.objects.filter(
        transaction_type=Transaction.TransactionType.WITHDRAWAL,
        from_tenants_wallet=False,
    ).exclude(wallet__tenant="")
    for pk in unmarked.values_list("pk", flat=True).iterator(chunk_size=CHUNK):
        detail = "from a tenant's wallet, without its mark: another may have its key"
        yield Finding("from_tenants_wallet", f"transaction {pk}", detail)


def _verify_histories() -> Iterator[Finding]:
    """The changes of a wallet lead without a gap to what the wallet is now."""
    changes = WalletChange.objects.order_by("wallet_id", "sequence")
    # Without times: one that cannot be read would end the check.
    rows = changes.select_related("wallet").defer(
        "created_at", "wallet__created_at", "wallet__updated_at"
    )
    read = rows.iterator(chunk_size=CHUNK)
    for _, its in groupby(read, key=attrgetter("wallet_id")):
        yield from _verify_history(list(its))
    unknown = Wallet.objects.filter(change_count__gt=0, changes=None)
    for uuid in unknown.values_list("uuid", flat=True).iterator(chunk_size=CHUNK):
        yield Finding("change_count", f"wallet {uuid}", "its changes are missing")


def _verify_history(changes: list[WalletChange]) -> Iterator[Finding]:
    wallet = changes[0].wallet
    name = f"wallet {wallet.uuid}"
    numbers = [change.sequence for change in changes]
    if numbers != list(range(1, wallet.change_count + 1)):
        detail = f"changes {numbers[:10]}…, expected 1 to {wallet.change_count}"
        yield Finding("change_count", name, detail)
    known: dict[str, Any] = {}
    for change in changes:
        try:
            before, after = json.loads(change.before), json.loads(change.after)
        except ValueError:
            row = f"change {change.pk}"
            yield Finding("change", row, f"{name}: no JSON")
            return
        for field, value in before.items():
            if known.get(field, value) != value:
                detail = f"{name}: {field} was {known[field]!r}, not {value!r}"
                yield Finding("change", f"change {change.pk}", detail)
        known |= after
    yield from _compare(wallet, known)


def _compare(wallet: Wallet, known: dict[str, Any]) -> Iterator[Finding]:
    try:
        metadata: Any = metadata_of(wallet.metadata)
    except ValueError:
        metadata = wallet.metadata
    shown = {
        "reference": wallet.reference,
        "metadata": metadata,
        "state": wallet.state,
    }
    for field, value in known.items():
        if shown.get(field) != value:
            yield Finding(
                "last_change",
                f"wallet {wallet.uuid}",
                f"{field} is {shown.get(field)!r}, its last change says {value!r}",
            )

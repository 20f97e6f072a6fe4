"""Pages of the transactions of all wallets, newest first. Reads only."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts import damage
from wallets.services.reads import relations
from wallets.services.reads.listing import Found, Page, Position, page_of
from wallets.services.reads.tenants import tenant_of_wallet
from wallets.utils.database import readable


@dataclass(frozen=True, slots=True)
class TransactionQuery:
    """Which transactions, and how many. Amounts in minor units; None: no condition.

    `bank_reference` is that of an attempt. Amounts include both ends; times include
    their beginning and exclude their end.
    """

    after: Position | None = None
    count: int = 50
    reference: str | None = None
    bank_reference: uuid.UUID | None = None
    status: str | None = None
    type: str | None = None
    failure_code: str | None = None
    amount_from: int | None = None
    amount_to: int | None = None
    scheduled_from: datetime | None = None
    scheduled_to: datetime | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


def list_transactions(
    asked: TransactionQuery, *, tenant: str = ""
) -> Page[Transaction]:
    """Return a page of transactions with their wallets; see `services.reads.listing`.

    With a tenant only those of its wallets, whoever has made them.
    """
    known, found = _conditions(asked)
    rows = Transaction.objects.all()
    if tenant:
        if found is Found.IN_ORDER:
            # The rows of the reference are read in windows: other tenants may use it.
            rows, found = (
                rows.filter(reference=known.pop("reference")),
                Found.IN_WINDOWS,
            )
        rows = rows.alias(owner=tenant_of_wallet())
        known["owner"] = tenant
    page = page_of(
        rows,
        after=asked.after,
        count=asked.count,
        created_from=asked.created_from,
        created_to=asked.created_to,
        others=known,
        found=found,
    )
    # By themselves: a join might read the whole table of wallets.
    of_page = Wallet.objects.filter(pk__in={row.wallet_id for row in page.rows})
    owners: list[Wallet] = readable.rows(of_page, damage.put_aside(Wallet))
    wallets = {one.pk: one for one in owners}
    whole = [row for row in page.rows if row.wallet_id in wallets]
    for row in whole:
        row.wallet = wallets[row.wallet_id]
    relations.of_transactions(whole)
    return Page(whole, page.following)


def _conditions(asked: TransactionQuery) -> tuple[dict[str, Any], Found]:
    """Return the conditions by column, and how they find rows."""
    columns: dict[str, Any] = {
        "reference": asked.reference,
        "status": asked.status,
        "transaction_type": asked.type,
        "failure_code": asked.failure_code,
        "amount__gte": asked.amount_from,
        "amount__lte": asked.amount_to,
        "scheduled_for__gte": asked.scheduled_from,
        "scheduled_for__lt": asked.scheduled_to,
    }
    known = {name: value for name, value in columns.items() if value is not None}
    if asked.bank_reference is not None:
        attempts = Attempt.objects.filter(reference=asked.bank_reference)
        known["pk__in"] = list(attempts.values_list("transaction_id", flat=True))
        return known, Found.AT_ONCE
    return known, Found.IN_WINDOWS if asked.reference is None else Found.IN_ORDER

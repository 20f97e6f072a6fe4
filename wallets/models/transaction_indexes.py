"""The indexes of transactions, beside those of their unique constraints."""

from __future__ import annotations

from django.db.models import Index, Q

INDEXES = [
    Index(fields=["wallet", "created_at"], name="transaction_by_time"),
    # For the list of all transactions, and those of one reference.
    Index(fields=["created_at", "id"], name="transaction_by_creation"),
    Index(
        fields=["reference", "created_at", "id"],
        name="transaction_by_reference",
        condition=~Q(reference=""),
    ),
    Index(
        fields=["scheduled_for", "id"],
        name="transaction_to_pay",
        condition=Q(status="PENDING", waits_for_wallet=False),
    ),
    Index(
        fields=["next_attempt_at", "id"],
        name="transaction_to_retry",
        condition=Q(status="FAILED", final=False, waits_for_wallet=False),
    ),
    # A wallet's withdrawals that have not ended.
    Index(
        fields=["wallet", "waits_for_wallet"],
        name="transaction_not_ended",
        condition=Q(status__in=["PENDING", "PROCESSING"])
        | Q(status="FAILED", final=False),
    ),
    # For lists of withdrawals, and for those under way. Those that wait for their
    # wallets are apart, so that no sweep reads them. MariaDB has no partial indexes,
    # and other ones instead of these two: migration 0024.
    Index(
        fields=["status", "scheduled_for", "id"],
        name="transaction_of_withdrawals",
        condition=Q(transaction_type="WITHDRAWAL", waits_for_wallet=False),
    ),
    Index(
        fields=["status", "scheduled_for", "id"],
        name="transaction_that_waits",
        condition=Q(waits_for_wallet=True),
    ),
]

"""The rules of transactions that the database enforces, beside their keys and types."""

from django.db import models
from django.db.models import Q

from wallets.models.base import MAX_MONEY

# Fixed here, because constraints are made from them.
_AT_ONCE = ["DEPOSIT", "TRANSFER_OUT", "TRANSFER_IN"]
_AT_ONCE += ["CORRECTION_OUT", "CORRECTION_IN", "RETURN"]
_STATUSES = ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"]

CONSTRAINTS: list[models.BaseConstraint] = [
    # The target of a movement's key. Read backwards: a wallet's newest first.
    models.UniqueConstraint(
        fields=["wallet", "id"], name="transaction_wallet_and_id_unique"
    ),
    models.UniqueConstraint(
        fields=["idempotency_key", "tenant"],
        name="transaction_idempotency_key_of_tenant_unique",
    ),
    # MySQL and MariaDB do not have it: a schedule locks its wallet there.
    models.UniqueConstraint(
        fields=["idempotency_key", "wallet"],
        condition=Q(from_tenants_wallet=True),
        name="transaction_key_of_tenants_wallet_unique",
    ),
    models.CheckConstraint(
        condition=Q(from_tenants_wallet=False) | Q(transaction_type="WITHDRAWAL"),
        name="transaction_from_tenants_wallet_is_withdrawal",
    ),
    models.CheckConstraint(
        condition=Q(amount__gte=1) & Q(amount__lte=MAX_MONEY),
        name="transaction_amount_within_limits",
    ),
    models.CheckConstraint(
        condition=Q(transaction_type__in=_AT_ONCE, scheduled_for__isnull=True)
        | Q(transaction_type="WITHDRAWAL", scheduled_for__isnull=False),
        name="transaction_schedule_matches_type",
    ),
    models.CheckConstraint(
        condition=Q(first_scheduled_for=None) | Q(transaction_type="WITHDRAWAL"),
        name="transaction_rescheduled_is_withdrawal",
    ),
    models.CheckConstraint(
        condition=Q(transaction_type="WITHDRAWAL") | Q(status="COMPLETED"),
        name="transaction_deposit_is_completed",
    ),
    models.CheckConstraint(
        condition=Q(status__in=_STATUSES), name="transaction_status_known"
    ),
    models.CheckConstraint(
        condition=~Q(status="COMPLETED") | Q(executed_at__isnull=False),
        name="transaction_completed_has_executed_at",
    ),
    models.CheckConstraint(
        condition=Q(unknown_since__isnull=True) | Q(status="PROCESSING"),
        name="transaction_unknown_is_processing",
    ),
    models.CheckConstraint(
        condition=Q(needs_review=False) | Q(unknown_since__isnull=False),
        name="transaction_review_is_unknown",
    ),
    models.CheckConstraint(
        condition=Q(final=False) | Q(status="FAILED"),
        name="transaction_final_is_failed",
    ),
    models.CheckConstraint(
        condition=~Q(status="CANCELLED")
        | Q(failure_code="", next_attempt_at__isnull=True),
        name="transaction_cancelled_is_not_failed",
    ),
    models.CheckConstraint(
        condition=Q(waits_for_wallet=False)
        | Q(status="PENDING", fails_if_frozen=False)
        | Q(status="FAILED", final=False, fails_if_frozen=False),
        name="transaction_waiting_is_to_be_paid",
    ),
]

"""Reads the ledger for the checker, and waits until it is settled."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import Any

from django.db.models import Prefetch, Q

from drills.checker import Row
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_audit
from wallets.services.operations import review
from wallets.utils.database.transactions import read_snapshot

# A date in the future comes from a stepped clock; everything else is right.
END_OF_TIME = datetime.max.replace(tzinfo=dt_timezone.utc)

Status = Transaction.Status


def unsettled(*, review_is_rest: bool) -> int:
    """Return how many withdrawals may still change."""
    moving = Q(status__in=[Status.PENDING, Status.PROCESSING]) | Q(
        status=Status.FAILED, final=False
    )
    rows = Transaction.objects.filter(moving)
    if review_is_rest:
        rows = rows.exclude(needs_review=True)
    return rows.count()


def rows() -> list[Row]:
    """Return every transaction of the ledger."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("number"))
    found = Transaction.objects.select_related("wallet").prefetch_related(attempts)
    return [
        Row(
            pk=row.pk,
            key=str(row.idempotency_key),
            kind=row.transaction_type,
            wallet=str(row.wallet.uuid),
            amount=row.amount,
            status=row.status,
            final=row.final,
            needs_review=row.needs_review,
            scheduled_for=row.scheduled_for,
            references=tuple(str(a.reference) for a in row.attempts.all()),
        )
        for row in found.order_by("pk").iterator(chunk_size=1000)
    ]


def balances() -> dict[str, int]:
    """Return the balance of each wallet."""
    return {
        str(uuid): balance
        for uuid, balance in Wallet.objects.values_list("uuid", "balance")
    }


def own_wrongs() -> list[str]:
    """Return the ledger's own errors: `verify_ledger`, and alarms."""
    with read_snapshot():
        found = [
            f"books: {finding}" for finding in ledger_audit.verify(now=END_OF_TIME)
        ]
    ended = Q(kind=Alarm.Kind.PAYOUTS_PAUSED, acknowledged_at__isnull=False)
    alarms = Alarm.objects.exclude(ended | Q(kind=Alarm.Kind.NEEDS_REVIEW))
    return found + [f"alarm: {a.kind} of {a.subject}: {a.detail}" for a in alarms]


def review_all(paid: set[str], **only: Any) -> int:
    """Conclude the withdrawals in review, by the bank's list; return how many.

    `only` is a filter of withdrawals.
    """
    ids = list(review.waiting().filter(**only).values_list("pk", flat=True))
    for pk in ids:
        references = Attempt.objects.filter(transaction_id=pk).values_list(
            "reference", flat=True
        )
        review.resolve(
            pk,
            paid=any(str(reference) in paid for reference in references),
            evidence="the bank's list",
            actor="operator drill",
        )
    return len(ids)


def lateness() -> list[float]:
    """Return by how many seconds each payment of a first attempt was late."""
    paid = Transaction.objects.filter(
        transaction_type="WITHDRAWAL", status=Status.COMPLETED, retry_count=0
    ).values_list("scheduled_for", "executed_at")
    second = timedelta(seconds=1)
    return sorted((at - due) / second for due, at in paid if at and due)

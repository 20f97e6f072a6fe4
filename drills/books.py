"""Reads the ledger for the checker, and waits until it is settled."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import Any

from django.db.models import Prefetch, Q

from drills.checker import Row
from drills.checker_life import Change
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.correction import Correction
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.ledger import ledger_audit
from wallets.services.operations import review
from wallets.utils.database.transactions import read_snapshot

# A date in the future comes from a stepped clock; everything else is right.
END_OF_TIME = datetime.max.replace(tzinfo=dt_timezone.utc)

# The alarm about a webhook that is switched off. Not imported: the drills of money also
# run without `events/`.
SWITCHED_OFF = "webhook_off"

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
    partners = dict(Transfer.objects.values_list("credit", "debit"))
    corrected = dict(Correction.objects.values_list("debit", "corrects"))
    for debit, credit, corrects in Correction.objects.exclude(credit=None).values_list(
        "debit", "credit", "credit_corrects"
    ):
        partners[credit], corrected[credit] = debit, corrects
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
            scheduled_for=row.requested_for,
            planned_for=row.scheduled_for,
            references=tuple(str(a.reference) for a in row.attempts.all()),
            partner=partners.get(row.pk),
            corrects=corrected.get(row.pk),
        )
        for row in found.order_by("pk").iterator(chunk_size=1000)
    ]


def changes() -> list[Change]:
    """Return every change of a wallet's life, in the order of each wallet."""
    rows = WalletChange.objects.select_related("wallet")
    return [
        Change(
            wallet=str(row.wallet.uuid),
            event=row.event,
            reason=row.reason,
            state=json.loads(row.after)["state"],
        )
        for row in rows.order_by("wallet_id", "sequence")
    ]


def creations() -> list[tuple[str, str]]:
    """Return the key and the wallet of each creation that had a key."""
    made = Wallet.objects.exclude(creation_key=None)
    return [(str(k), str(u)) for k, u in made.values_list("creation_key", "uuid")]


def balances() -> dict[str, int]:
    """Return the balance of each wallet."""
    return {
        str(uuid): balance
        for uuid, balance in Wallet.objects.values_list("uuid", "balance")
    }


def wrong_books() -> list[str]:
    """Return every error that `verify_ledger` finds, as a sentence."""
    with read_snapshot():
        found = ledger_audit.verify(now=END_OF_TIME)
        return [f"books: {finding}" for finding in found]


def own_wrongs() -> list[str]:
    """Return the ledger's own errors: `verify_ledger`, and alarms.

    That payouts were paused and webhooks switched off is what the faults are for.
    """
    ended = Q(kind=Alarm.Kind.PAYOUTS_PAUSED, acknowledged_at__isnull=False)
    alarms = Alarm.objects.exclude(
        ended | Q(kind__in=[Alarm.Kind.NEEDS_REVIEW, SWITCHED_OFF])
    )
    return wrong_books() + [
        f"alarm: {a.kind} of {a.subject}: {a.detail}" for a in alarms
    ]


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

"""Alarms: facts that a person must look at. An alarm changes nothing else."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime

from django.db.models import QuerySet

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import database_now, run_in_transaction

logger = logging.getLogger(__name__)


def raise_alarm(
    kind: str,
    withdrawal: Transaction | None = None,
    *,
    detail: str,
    subject: str = "",
    attempt_number: int = 0,
    now: datetime | None = None,
) -> None:
    """Write an alarm, once for each kind, subject and attempt.

    `kind`: one of `Alarm.Kind`, or a removable application's own (at most 24 characters).
    Call inside a transaction. `subject` names what the alarm is about; default: the
    withdrawal. `now` is its time; default: the database's. For an alarm about a
    withdrawal the caller must hold the withdrawal's lock, so that no other transaction
    writes the same alarm. Other alarms may conflict at the unique constraint;
    `run_in_transaction` then runs the second transaction again.
    """
    known = {
        "kind": kind,
        "subject": subject or f"withdrawal {withdrawal and withdrawal.pk}",
        "attempt_number": attempt_number,
    }
    if Alarm.objects.filter(**known).exists():
        return
    moment = now or database_now()
    Alarm.objects.create(
        **known, transaction=withdrawal, detail=detail, created_at=moment
    )
    logger.error("alarm: %s", str(kind), extra={"subject": known["subject"]})


def unacknowledged() -> QuerySet[Alarm]:
    """Return the open alarms, the newest first."""
    return Alarm.objects.filter(acknowledged_at=None).select_related(
        "transaction__wallet"
    )


def acknowledge(alarm_id: int, *, actor: str) -> Alarm:
    """Acknowledge an alarm. Only the first acknowledgement is stored.

    Opens its own transaction.

    :raises InvalidInput: the actor is empty or too long.
    :raises Alarm.DoesNotExist: no such alarm.
    """
    check_actor(actor)

    def work() -> Alarm:
        _end(Alarm.objects.filter(pk=alarm_id), actor=actor, now=database_now())
        return Alarm.objects.get(pk=alarm_id)

    return run_in_transaction(work)


def end_unknown_payment(reference: uuid.UUID, *, actor: str, now: datetime) -> None:
    """Close the alarm of a payment that has been recorded.

    Call inside the transaction that records it.
    """
    _end(
        Alarm.objects.filter(
            subject=f"reference {reference}", kind=Alarm.Kind.UNKNOWN_PAYMENT
        ),
        actor=actor,
        now=now,
    )


def end_reviews(transaction_ids: Iterable[int], *, actor: str, now: datetime) -> None:
    """Close the review alarms of these withdrawals.

    Call inside the transaction that concludes them.
    """
    _end(
        Alarm.objects.filter(
            transaction_id__in=transaction_ids, kind=Alarm.Kind.NEEDS_REVIEW
        ),
        actor=actor,
        now=now,
    )


def end(kind: str, subject: str, *, actor: str, now: datetime) -> None:
    """Close the alarms of this kind about this subject.

    Call inside the transaction that ends their reason.
    """
    _end(Alarm.objects.filter(subject=subject, kind=kind), actor=actor, now=now)


def end_pause(subject: str, *, actor: str, now: datetime) -> None:
    """Close the alarm of a pause. Call inside the transaction that resumes payouts."""
    end(Alarm.Kind.PAYOUTS_PAUSED, subject, actor=actor, now=now)


def _end(alarms: QuerySet[Alarm], *, actor: str, now: datetime) -> None:
    alarms.filter(acknowledged_at=None).update(
        acknowledged_at=now, acknowledged_by=actor, updated_at=now
    )

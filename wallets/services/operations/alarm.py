"""Alarms: what a person must look at. Raising one changes nothing else."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime

from django.db.models import QuerySet

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import database_now

logger = logging.getLogger(__name__)


def raise_alarm(
    kind: Alarm.Kind,
    withdrawal: Transaction | None = None,
    *,
    detail: str,
    subject: str = "",
    attempt_number: int = 0,
    now: datetime | None = None,
) -> None:
    """Write an alarm, once for each kind, subject and attempt, as of `now` or this moment.

    `subject` names what it is about: the withdrawal, unless another text is given. Call
    inside a transaction. Where it is about a withdrawal, hold the withdrawal's lock: so
    nobody else writes the same alarm at the same time. Elsewhere two writers may meet at
    the unique constraint; `run_in_transaction` runs the second one again.
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
    logger.error("alarm: %s", kind.value, extra={"subject": known["subject"]})


def unacknowledged() -> QuerySet[Alarm]:
    """Alarms that nobody has taken note of, the newest first."""
    return Alarm.objects.filter(acknowledged_at=None).select_related(
        "transaction__wallet"
    )


def acknowledge(alarm_id: int, *, actor: str) -> Alarm:
    """Note who has seen an alarm. The first one counts; again changes nothing.

    One guarded UPDATE, no transaction needed.

    :raises InvalidInput: no actor was given, or too long a name.
    :raises Alarm.DoesNotExist: no such alarm.
    """
    check_actor(actor)
    now = database_now()
    Alarm.objects.filter(pk=alarm_id, acknowledged_at=None).update(
        acknowledged_at=now, acknowledged_by=actor, updated_at=now
    )
    return Alarm.objects.get(pk=alarm_id)


def end_unknown_payment(reference: uuid.UUID, *, actor: str, now: datetime) -> None:
    """Note that the books have the bank's payment of this reference now.

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
    """Note that nobody has to review these any more, and who found out.

    Call inside the transaction that concludes them.
    """
    _end(
        Alarm.objects.filter(
            transaction_id__in=transaction_ids, kind=Alarm.Kind.NEEDS_REVIEW
        ),
        actor=actor,
        now=now,
    )


def end_pause(subject: str, *, actor: str, now: datetime) -> None:
    """Note that payouts go on, and who let them. Call inside the transaction that does."""
    _end(
        Alarm.objects.filter(subject=subject, kind=Alarm.Kind.PAYOUTS_PAUSED),
        actor=actor,
        now=now,
    )


def _end(alarms: QuerySet[Alarm], *, actor: str, now: datetime) -> None:
    alarms.filter(acknowledged_at=None).update(
        acknowledged_at=now, acknowledged_by=actor, updated_at=now
    )

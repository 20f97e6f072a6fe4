"""Alarms: facts that a person must look at. An alarm changes nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.lookups import IsNull

from wallets.errors import InvalidInput
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import database_now, run_in_transaction

logger = logging.getLogger(__name__)

# Of an alarm that was opened again: its evidence, the newest first.
MAX_DETAIL = 2000

# Recording a payment ends these.
_FORGOTTEN = (Alarm.Kind.PAID_AFTER_RELEASE, Alarm.Kind.UNKNOWN_PAYMENT)
# They say that the bank has paid something for a withdrawal.
_SAY_PAID = (*_FORGOTTEN, Alarm.Kind.PAID_TWICE, Alarm.Kind.PAID_OTHERWISE)
_OPENED_AGAIN = (*_SAY_PAID, Alarm.Kind.DAMAGED_ROWS)


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

    One that was acknowledged is opened again by new evidence: a detail that it does not
    contain yet. To acknowledge a late answer must not silence the bank's list.

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
    raised = Alarm.objects.filter(**known).first()
    if raised is None:
        Alarm.objects.create(
            **known,
            transaction=withdrawal,
            detail=detail,
            created_at=now or database_now(),
        )
    elif (
        kind in _OPENED_AGAIN and raised.acknowledged_at and detail not in raised.detail
    ):
        _open_again(raised, detail, now or database_now())
    else:
        return
    logger.error("alarm: %s", str(kind), extra={"subject": known["subject"]})


def _open_again(raised: Alarm, detail: str, now: datetime) -> None:
    before = f"Acknowledged before by {raised.acknowledged_by}: {raised.detail}"
    Alarm.objects.filter(pk=raised.pk).update(
        detail=f"{detail}. {before}"[:MAX_DETAIL],
        acknowledged_at=None,
        acknowledged_by="",
        updated_at=now,
    )


def shown() -> QuerySet[Alarm]:
    """Return all alarms, the newest first, with the amounts of their withdrawals.

    An amount is that and its currency. Nothing else of a withdrawal or its wallet is
    read: the alarm may be that it cannot be read.
    """
    own = [field.name for field in Alarm._meta.concrete_fields]
    return Alarm.objects.select_related("transaction__wallet").only(
        *own, "transaction__amount", "transaction__wallet__currency"
    )


def unacknowledged() -> QuerySet[Alarm]:
    """Return the open alarms, as `shown`."""
    return shown().filter(acknowledged_at=None)


def said_paid(transaction_ids: Iterable[int]) -> QuerySet[Alarm]:
    """Return the open alarms which say that the bank has paid one of these already.

    Nothing may be sent for such a withdrawal. Call with the withdrawals locked: whoever
    raises such an alarm has locked its withdrawal.
    """
    return _saying_paid().filter(transaction_id__in=transaction_ids)


def without_said_paid(withdrawals: QuerySet[Transaction]) -> QuerySet[Transaction]:
    """Leave out what waits for an operator, because `said_paid` has an alarm about it.

    For what reads without locks: an alarm may be raised before they are taken.
    """
    alarms = _saying_paid().filter(transaction=OuterRef("pk")).order_by()
    # With NOT EXISTS, MariaDB would read the whole table of alarms each time.
    return withdrawals.filter(IsNull(Subquery(alarms.values("pk")[:1]), True))


def _saying_paid() -> QuerySet[Alarm]:
    return Alarm.objects.filter(kind__in=_SAY_PAID, acknowledged_at=None)


def refuse_if_said_paid(withdrawal: Transaction) -> None:
    """Refuse to pay a withdrawal that the bank may have paid. Call with it locked.

    :raises InvalidInput: an alarm says so; the text names it.
    """
    for found in said_paid([withdrawal.pk])[:1]:
        raise InvalidInput(
            f"The bank may have paid it already: {found.detail}. Record the payment; or, "
            f"if it is not true, acknowledge alarm {found.pk} first.",
            field="transaction",
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


def numbers_said_paid(withdrawal: Transaction) -> list[int]:
    """Return which attempts the open alarms say are paid, that a record of one closes."""
    alarms = Alarm.objects.filter(
        transaction=withdrawal, kind__in=_FORGOTTEN, acknowledged_at=None
    )
    return sorted(set(alarms.values_list("attempt_number", flat=True)))


def end_said_paid(paid: Attempt, number: int, *, actor: str, now: datetime) -> None:
    """Close the alarms of a payment that has been recorded as this attempt.

    `number`: the attempt that the bank has paid. Alarms about another one stay open: the
    bank may have paid that one, too. Call inside the transaction that records it.
    """
    of_reference = Alarm.objects.filter(
        subject=f"reference {paid.reference}", kind=Alarm.Kind.UNKNOWN_PAYMENT
    )
    of_withdrawal = Alarm.objects.filter(
        transaction=paid.transaction_id, kind__in=_FORGOTTEN, attempt_number=number
    )
    for alarms in (of_reference, of_withdrawal):
        _end(alarms, actor=actor, now=now)


def exists(kind: str, attempt: Attempt) -> bool:
    """Whether there is an alarm of this kind about the attempt. One query.

    Also an acknowledged one: to have read it is no evidence.
    """
    return _about(attempt, kind).exists()


def is_listed(attempt: Attempt) -> bool:
    """Whether the bank's list has shown this open attempt as paid. One query."""
    return exists(Alarm.Kind.UNKNOWN_PAYMENT, attempt)


def end_listed(attempts: Iterable[Attempt], *, actor: str, now: datetime) -> None:
    """Close the alarms that the bank's list has these attempts, which are paid.

    Call inside the transaction that concludes them.
    """
    for each in attempts:
        _end(_about(each, Alarm.Kind.UNKNOWN_PAYMENT), actor=actor, now=now)


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


def _about(attempt: Attempt, kind: str) -> QuerySet[Alarm]:
    return Alarm.objects.filter(
        transaction=attempt.transaction_id, attempt_number=attempt.number, kind=kind
    )


def _end(alarms: QuerySet[Alarm], *, actor: str, now: datetime) -> None:
    alarms.filter(acknowledged_at=None).update(
        acknowledged_at=now, acknowledged_by=actor, updated_at=now
    )

"""Alarms about damaged rows, so that sweeps can go on with the others.

A sweep processes all rows together. If that fails with one of `utils.damaged.DAMAGED`,
it processes each row alone (`all_or_each`, `each_alone`), and reports the rows that
fail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db.models import Exists, Model, OuterRef

from wallets.errors import DamagedRows
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.operations.alarm import raise_alarm
from wallets.utils.database.transactions import run_in_transaction

logger = logging.getLogger(__name__)

MAX_DETAIL = 500
# The most alarms of one round.
MAX_HOMELESS = 100


def put_aside(model: type[Model]) -> Callable[[int, Exception], None]:
    """Return what reports an unreadable row of this table, by its id: "wallet 7".

    For lists, which leave the row out. It opens its own transaction.
    """
    name = model._meta.model_name

    def aside(pk: int, error: Exception) -> None:
        report(
            f"{name} {pk}", error, withdrawal_id=pk if model is Transaction else None
        )

    return aside


def report(
    subject: str, error: Exception, *, withdrawal_id: int | None = None, note: str = ""
) -> None:
    """Raise the alarm about damaged rows, once for each subject ("attempt 12").

    Opens its own transaction. The row of `withdrawal_id` may be missing. `note`:
    further facts for a person, such as the bank's answer.
    """
    # The first line names the violated rule; the others may quote the row.
    words, *_ = str(error).strip().splitlines() or [""]
    detail = " ".join(part for part in (note, type(error).__name__, words) if part)

    def work() -> None:
        rows = Transaction.objects.filter(pk=withdrawal_id or 0)
        raise_alarm(
            Alarm.Kind.DAMAGED_ROWS,
            # Do not read the row: it may be unreadable.
            Transaction(pk=withdrawal_id) if rows.exists() else None,
            subject=subject,
            detail=detail[:MAX_DETAIL],
        )

    run_in_transaction(work)


def report_homeless() -> None:
    """Raise an alarm for each PROCESSING withdrawal without an open attempt.

    No sweep would find it: the resolver looks for attempts. Opens a transaction for
    each, and names each once. One query by an index if there is none: of the withdrawals
    that are PROCESSING there are few.
    """
    named = Alarm.objects.filter(
        kind=Alarm.Kind.DAMAGED_ROWS, transaction=OuterRef("pk")
    )
    at_work = Attempt.objects.filter(transaction=OuterRef("pk"), open__in=[True])
    homeless = Transaction.objects.filter(
        Transaction.is_under_way(), ~Exists(at_work), ~Exists(named)
    )
    pks = list(homeless.order_by().values_list("pk", flat=True)[:MAX_HOMELESS])
    for pk in pks:
        error = DamagedRows("PROCESSING, and none of its attempts is open")
        report(f"withdrawal {pk}", error, withdrawal_id=pk)

"""Alarms about damaged rows, so that sweeps can go on with the others.

A sweep processes all rows together. If that fails with one of `utils.damaged.DAMAGED`,
it processes each row alone (`all_or_each`, `each_alone`), and reports the rows that
fail.
"""

from __future__ import annotations

import logging

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.operations.alarm import raise_alarm
from wallets.utils.database.transactions import run_in_transaction

logger = logging.getLogger(__name__)

MAX_DETAIL = 500


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

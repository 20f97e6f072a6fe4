"""Rows that break the rules: put aside with an alarm, so that the others go on.

For every sweep: do the work with all rows at once, and when that fails with one of
`utils.damaged.DAMAGED`, with each alone (`all_or_each`, `each_alone`), and report what fails.
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

    Opens its own transaction. `withdrawal_id` may name a row that is not there. `note`:
    what a person must know beside the error, such as what the bank said.
    """
    # The first line names the rule; the others may quote the row.
    words, *_ = str(error).strip().splitlines() or [""]
    detail = " ".join(part for part in (note, type(error).__name__, words) if part)

    def work() -> None:
        rows = Transaction.objects.filter(pk=withdrawal_id or 0)
        raise_alarm(
            Alarm.Kind.DAMAGED_ROWS,
            # Not read: it may be the row that cannot be.
            Transaction(pk=withdrawal_id) if rows.exists() else None,
            subject=subject,
            detail=detail[:MAX_DETAIL],
        )

    run_in_transaction(work)

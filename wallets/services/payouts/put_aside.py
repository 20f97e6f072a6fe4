"""Due withdrawals with damaged rows: skipped with an alarm, so that others are paid.

The rows are not changed, and are tried again after REST_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterable

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.operations.alarm import raise_alarm
from wallets.utils import clock
from wallets.utils.database.transactions import run_in_transaction

# One damaged row makes a whole batch be claimed row by row; this must not happen at
# every wake-up.
REST_SECONDS = 60.0

# By withdrawal: until when this process skips it. Only an optimization.
_until: dict[int, float] = {}


def resting() -> set[int]:
    """Return the withdrawals to skip now."""
    now = clock.elapsed()
    for pk in [pk for pk, until in _until.items() if until <= now]:
        _until.pop(pk, None)
    return set(_until)


def withdrawals(pks: Iterable[int]) -> None:
    """Skip these for REST_SECONDS, and raise an alarm for each.

    Opens a transaction for each. An existing alarm is not raised again.
    """
    for pk in pks:
        _until[pk] = clock.elapsed() + REST_SECONDS
        run_in_transaction(lambda pk=pk: _raise(pk))  # type: ignore[misc]


def _raise(pk: int) -> None:
    # Do not read the row: it may be unreadable.
    raise_alarm(
        Alarm.Kind.DAMAGED_ROWS,
        Transaction(pk=pk),
        detail="Cannot be claimed: rows of it break the rules. Its error is in the log "
        "of the worker; see `manage.py verify_ledger`.",
    )

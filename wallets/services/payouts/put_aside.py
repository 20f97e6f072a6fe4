"""Withdrawals whose rows are damaged: put aside with an alarm, so that others are paid.

They stay as they are, and are tried again after a rest: somebody may have mended them.
"""

from __future__ import annotations

from collections.abc import Iterable

from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.services.operations.alarm import raise_alarm
from wallets.utils import clock
from wallets.utils.database.transactions import run_in_transaction

# One damaged row makes a whole batch be claimed one by one: not at every wake-up.
REST_SECONDS = 60.0

# By withdrawal, until when this process leaves it alone. It only saves work.
_until: dict[int, float] = {}


def resting() -> set[int]:
    """The withdrawals that are to be left alone now."""
    now = clock.elapsed()
    for pk in [pk for pk, until in _until.items() if until <= now]:
        _until.pop(pk, None)
    return set(_until)


def withdrawals(pks: Iterable[int]) -> None:
    """Leave these alone for a while, and have a person look at each.

    Opens a transaction for each. An alarm that is there already is not raised again.
    """
    for pk in pks:
        _until[pk] = clock.elapsed() + REST_SECONDS
        run_in_transaction(lambda pk=pk: _raise(pk))  # type: ignore[misc]


def _raise(pk: int) -> None:
    # Not read: reading it may be what fails.
    raise_alarm(
        Alarm.Kind.DAMAGED_ROWS,
        Transaction(pk=pk),
        detail="Cannot be claimed: rows of it break the rules. Its error is in the log "
        "of the worker; see `manage.py verify_ledger`.",
    )

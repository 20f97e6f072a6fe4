"""The daily comparison of the ledger with the bank's list."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings

from wallets.errors import StatementUnavailable
from wallets.models.alarm import Alarm
from wallets.models.heartbeat import Heartbeat
from wallets.services.operations import heartbeat
from wallets.services.operations.reconciliation import ask
from wallets.services.operations.reconciliation_alarms import StatementAlarms
from wallets.utils.bank.interface import ListingBank
from wallets.utils.database.transactions import database_now
from wallets.utils.third_party import get_bank

logger = logging.getLogger(__name__)

DAY = timedelta(days=1)
# A run asks for the time since the last one and one day more, at most this.
LONGEST_PERIOD = timedelta(days=7)
_MAX_WHY = 500


def reconcile_when_due(
    *, bank: ListingBank | None = None, now: datetime | None = None
) -> int:
    """Compare the ledger with the bank's list once a day; return the findings' number.

    Opens its own transactions. Does nothing if the bank has no list, or within a day of
    the last run. A run that fails raises an alarm, and the next call tries again: a list
    that cannot be fetched, rows that stay locked, any error, which then goes on. After a
    week without a run the time before LONGEST_PERIOD is not compared, and an alarm names
    it: such a list may be too long.
    """
    if not settings.THIRD_PARTY_STATEMENT:
        return 0
    now = now or database_now()
    names = Heartbeat.objects.filter(name=heartbeat.STATEMENT)
    last = names.values_list("ran_at", flat=True).first()
    if last is not None and timedelta(0) <= now - last < DAY:
        return 0
    try:
        return _reconcile(bank or get_bank(), last, now)
    except Exception as error:
        _tell(error, now)
        raise


def _reconcile(bank: ListingBank, last: datetime | None, now: datetime) -> int:
    wanted = min(last or now, now) - DAY
    since = max(now - LONGEST_PERIOD, wanted)
    alarms = StatementAlarms(now)
    try:
        comparison = ask(bank, since=since)
    except StatementUnavailable as error:
        alarms.of_statement(Alarm.Kind.NO_STATEMENT, str(error))
        return 0
    found = sum(1 for _ in comparison.findings())
    if comparison.locked:
        rows = ", ".join(each.row for each in comparison.locked[:10])
        detail = (
            f"another session holds {len(comparison.locked)} withdrawals, whose alarms "
            f"are not raised ({rows}); the comparison is made again"
        )
        alarms.of_statement(Alarm.Kind.NO_STATEMENT, detail)
        return found
    if wanted < since:
        # Before the heartbeat, after which nobody would know of this time.
        alarms.of_skipped(wanted, since)
    heartbeat.beat(heartbeat.STATEMENT)
    return found


def _tell(error: Exception, now: datetime) -> None:
    """Log why a run has failed, and raise its alarm, if that is possible."""
    logger.exception("the daily comparison with the bank's list has failed")
    why = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_WHY]
    detail = f"the comparison has failed: {why}"
    try:
        StatementAlarms(now).of_statement(Alarm.Kind.NO_STATEMENT, detail)
    except Exception:
        logger.exception("the alarm about it could not be raised")

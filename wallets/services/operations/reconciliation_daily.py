"""The daily comparison of the ledger with the bank's list."""

from __future__ import annotations

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

DAY = timedelta(days=1)
# A run asks for the time since the last one and one day more, at most this.
LONGEST_PERIOD = timedelta(days=7)


def reconcile_when_due(
    *, bank: ListingBank | None = None, now: datetime | None = None
) -> int:
    """Compare the ledger with the bank's list once a day; return the findings' number.

    Opens its own transactions. Does nothing if the bank has no list, or within a day of
    the last run. A list that cannot be fetched raises an alarm; the next call tries
    again. After a week without a run the time before LONGEST_PERIOD is not compared, and
    an alarm names it: such a list may be too long.
    """
    if not settings.THIRD_PARTY_STATEMENT:
        return 0
    now = now or database_now()
    last = (
        Heartbeat.objects.filter(name=heartbeat.STATEMENT)
        .values_list("ran_at", flat=True)
        .first()
    )
    if last is not None and timedelta(0) <= now - last < DAY:
        return 0
    wanted = min(last or now, now) - DAY
    since = max(now - LONGEST_PERIOD, wanted)
    try:
        comparison = ask(bank or get_bank(), since=since)
    except StatementUnavailable as error:
        StatementAlarms(now).of_statement(Alarm.Kind.NO_STATEMENT, str(error))
        return 0
    found = sum(1 for _ in comparison.findings())
    if wanted < since:
        # Before the heartbeat, after which nobody would know of this time.
        StatementAlarms(now).of_skipped(wanted, since)
    heartbeat.beat(heartbeat.STATEMENT)
    return found

"""Alarms, newest first. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from console import extensions
from wallets.models.alarm import Alarm
from wallets.services.operations import alarm

PAGE = 50

# The meaning of each kind, and what to do; docs/runbook.md has the details.
MEANING: dict[str, str] = {
    Alarm.Kind.NEEDS_REVIEW: (
        "Nobody knows whether the bank paid. Ask the bank about the reference, then "
        "resolve the withdrawal."
    ),
    Alarm.Kind.PAID_AFTER_RELEASE: (
        "The bank says that it paid, but the money went back to the wallet. Nothing more "
        "is sent while this alarm is open. Record the payment, or recover the money."
    ),
    Alarm.Kind.CONTRADICTION: (
        "The bank answered “refused” after it had answered “paid”. Ask the bank which "
        "is true."
    ),
    Alarm.Kind.PAID_TWICE: (
        "The bank's list has one reference more than once, or again on a later day. "
        "Claim the second payment back from the bank."
    ),
    Alarm.Kind.UNKNOWN_PAYMENT: (
        "The bank's list has a payment that the books do not have as paid: its outcome "
        "is not recorded yet, or a restored backup does not have it."
    ),
    Alarm.Kind.NOT_ON_STATEMENT: (
        "The books have a payment that the bank's list does not have. Ask the bank."
    ),
    Alarm.Kind.PAID_OTHERWISE: (
        "The bank's list has another amount or wallet than was sent."
    ),
    Alarm.Kind.NO_STATEMENT: (
        "The bank's list was not fetched, so books and bank were not compared for some "
        "time. The detail says why."
    ),
    Alarm.Kind.DAMAGED_ROWS: (
        "Rows are damaged. They were not changed; run verify_ledger."
    ),
    Alarm.Kind.PAYOUTS_PAUSED: (
        "An operator has paused all payouts. No payment is sent to the bank."
    ),
}
# The row is damaged, or a later release has written it.
UNKNOWN = "This release does not know this kind of alarm."


@dataclass(frozen=True)
class Notice:
    """An alarm with the meaning of its kind."""

    alarm: Alarm
    meaning: str


def alarms(*, everything: bool, before: int | None) -> tuple[list[Notice], int | None]:
    """Return a page of alarms, and the id before which the next page begins."""
    rows = alarm.unacknowledged()
    if everything:
        rows = alarm.shown()
    if before is not None:
        rows = rows.filter(pk__lt=before)
    page = list(rows.order_by("-pk")[: PAGE + 1])
    shown = page[:PAGE]
    meaning = {**extensions.alarms(), **MEANING}
    notices = [Notice(row, meaning.get(row.kind, UNKNOWN)) for row in shown]
    return notices, shown[-1].pk if len(page) > PAGE else None

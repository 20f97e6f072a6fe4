"""Alarms, newest first. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from wallets.models.alarm import Alarm
from wallets.services.operations import alarm

PAGE = 50

# What each kind means and what to do, in a sentence; docs/runbook.md says it in full.
MEANING = {
    Alarm.Kind.NEEDS_REVIEW: (
        "Nobody knows whether the bank paid. Ask the bank about the reference, then "
        "resolve it."
    ),
    Alarm.Kind.PAID_AFTER_RELEASE: (
        "The bank says it paid, but the money went back to the wallet. Settle it with "
        "the customer or the bank; nothing is moved by itself."
    ),
    Alarm.Kind.CONTRADICTION: (
        "The bank said it refused what it had said it paid. Ask the bank which is true."
    ),
    Alarm.Kind.PAID_TWICE: (
        "The bank's statement lists one reference more than once. Claim it back from "
        "the bank."
    ),
    Alarm.Kind.UNKNOWN_PAYMENT: (
        "The bank's statement has a payment that the books do not have. After a restored "
        "backup it may be one that the books forgot."
    ),
    Alarm.Kind.NOT_ON_STATEMENT: (
        "The books have a payment that the bank's statement does not have. Ask the bank."
    ),
    Alarm.Kind.PAID_OTHERWISE: (
        "The bank paid another amount, or for another wallet, than it was asked to."
    ),
    Alarm.Kind.NO_STATEMENT: (
        "The bank's statement could not be read, so books and bank were not compared."
    ),
    Alarm.Kind.DAMAGED_ROWS: (
        "Rows break the rules of the books. They were left as they are; run "
        "verify_ledger."
    ),
    Alarm.Kind.PAYOUTS_PAUSED: (
        "An operator has stopped all payouts. Nothing is sent to the bank."
    ),
}


@dataclass(frozen=True)
class Notice:
    """An alarm, and what its kind means."""

    alarm: Alarm
    meaning: str


def alarms(*, everything: bool, before: int | None) -> tuple[list[Notice], int | None]:
    """Return one page of alarms, and the id that the next page ends before."""
    rows = alarm.unacknowledged()
    if everything:
        rows = Alarm.objects.select_related("transaction__wallet")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    page = list(rows.order_by("-pk")[: PAGE + 1])
    shown = page[:PAGE]
    notices = [Notice(row, MEANING.get(Alarm.Kind(row.kind), "")) for row in shown]
    return notices, shown[-1].pk if len(page) > PAGE else None

"""Decides whether the story of wallets ended well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from drills.scenario_wallets import (
    CORRECTION,
    DEPOSIT,
    TRANSFER,
    WITHDRAWAL,
    WalletPlan,
)
from wallets.models.alarm import Alarm
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange

Payments = list[dict[str, Any]]
# Each request once, however often it was sent: two transactions of each transfer, and of
# the correction of one.
WANTED = {
    "DEPOSIT": 1,
    "WITHDRAWAL": 1,
    "TRANSFER_OUT": 3,
    "TRANSFER_IN": 3,
    "CORRECTION_OUT": 1,
    "CORRECTION_IN": 1,
}


def wrongs(plan: WalletPlan, payments: Payments) -> list[str]:
    """Return every error of this story as a sentence; nothing if all is right."""
    return [*_wrong_money(plan, payments), *_wrong_lives(plan)]


def _wrong_money(plan: WalletPlan, payments: Payments) -> Iterator[str]:
    uuids = [plan.wallet_uuid, plan.payee, plan.closed]
    rows = Transaction.objects.filter(wallet__uuid__in=uuids)
    kinds = Counter(rows.values_list("transaction_type", flat=True))
    paid = 0
    for row in rows.filter(transaction_type="WITHDRAWAL"):
        paid = row.amount if row.status == Transaction.Status.COMPLETED else 0
        if not paid and not (row.status == Transaction.Status.FAILED and row.final):
            yield f"withdrawal: {row.status}, and not settled"
        if row.failure_code == Transaction.FailureCode.WALLET_FROZEN:
            yield "withdrawal: failed for a freeze, and was to wait"
    # What the bank has paid it has returned.
    if kinds != WANTED | ({"RETURN": 1} if paid else {}):
        yield f"transactions: {dict(kinds)}"
    if sum(int(payment["amount"]) for payment in payments) != paid:
        yield f"withdrawal: {paid} of {WITHDRAWAL} paid, the bank's list: {payments}"
    wanted = [
        (DEPOSIT - TRANSFER + CORRECTION, 0),
        (TRANSFER - CORRECTION, 0),
        (0, 0),
    ]
    held = [Wallet.objects.values_list("balance", "held").get(uuid=u) for u in uuids]
    if held != wanted:
        yield f"money: {held}, should be {wanted}"
    for alarm in Alarm.objects.filter(transaction__in=rows):
        yield f"alarm: {alarm.kind} of {alarm.transaction_id}: {alarm.detail}"


def _wrong_lives(plan: WalletPlan) -> Iterator[str]:
    rows = WalletChange.objects.order_by("wallet_id", "sequence")
    lives = {
        uuid: list(rows.filter(wallet__uuid=uuid).values_list("event", flat=True))
        for uuid in (plan.wallet_uuid, plan.payee, plan.closed)
    }
    # A freeze whose request was lost is not repeated: its end is.
    if lives[plan.wallet_uuid] not in ([], ["frozen", "unfrozen"]):
        yield f"the wallet was {lives[plan.wallet_uuid]}"
    if lives[plan.payee] or lives[plan.closed] != ["closed"]:
        yield f"lives: {lives}"

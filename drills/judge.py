"""Compares the ledger with what the bank really paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from drills import books
from drills.scenario import DEPOSIT, Plan
from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet

Status = Transaction.Status
Payments = list[dict[str, Any]]


def wrongs(plan: Plan, payments: Payments, *, may_need_review: bool) -> Iterator[str]:
    """Yield every error of this story as a sentence; nothing if all is right."""
    transactions = plan.transactions()
    deposits = [t for t in transactions if t.transaction_type == "DEPOSIT"]
    withdrawals = [t for t in transactions if t.transaction_type == "WITHDRAWAL"]
    if [t.amount for t in deposits] != [DEPOSIT]:
        yield f"deposits: {deposits}"
    if {t.idempotency_key for t in withdrawals} != set(plan.keys.values()):
        yield f"withdrawals: {withdrawals}"
    paid = Counter(payment["reference"] for payment in payments)
    for withdrawal in withdrawals:
        yield from _wrong_withdrawal(plan, withdrawal, paid, may_need_review)
    references = {
        str(reference)
        for reference in Attempt.objects.filter(
            transaction__in=withdrawals
        ).values_list("reference", flat=True)
    }
    for reference in set(paid) - references:
        yield f"the bank paid {reference}, of which the books know nothing"
    wallet = Wallet.objects.get(uuid=plan.wallet_uuid)
    # A withdrawal in review may be paid or not: the bank's list decides.
    in_review = sum(t.amount for t in withdrawals if t.needs_review)
    settled = sum(t.amount for t in withdrawals if t.status == Status.COMPLETED)
    if wallet.held != in_review or wallet.balance != DEPOSIT - in_review - settled:
        yield f"money: {wallet.balance} + {wallet.held}, settled {settled}"
    alarms = Alarm.objects.filter(transaction__in=withdrawals)
    for alarm in alarms.exclude(kind=Alarm.Kind.NEEDS_REVIEW):
        yield f"alarm: {alarm.kind} of {alarm.transaction_id}: {alarm.detail}"


def _wrong_withdrawal(
    plan: Plan, withdrawal: Transaction, paid: Counter[str], may_need_review: bool
) -> Iterator[str]:
    references = withdrawal.attempts.values_list("reference", flat=True)
    count = sum(paid[str(reference)] for reference in references)
    name = f"withdrawal of {withdrawal.amount}, {withdrawal.status}"
    confirmed = withdrawal.idempotency_key in plan.cancelled_keys
    if confirmed and withdrawal.status != Status.CANCELLED:
        yield f"{name}: its cancellation was confirmed"
    if count > 1:
        yield f"{name}: paid {count} times"
    if withdrawal.needs_review:
        if not may_need_review:
            yield f"{name}: needs a review that the bank could have spared it"
        return
    if withdrawal.status not in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        yield f"{name}: not settled"
    if (withdrawal.status == Status.COMPLETED) != (count > 0):
        yield f"{name}: paid {count} times"
    if withdrawal.status == Status.FAILED and not withdrawal.final:
        yield f"{name}: not final"


def review_all(plan: Plan, payments: Payments) -> int:
    """Conclude the withdrawals in review, by the bank's list; return how many."""
    paid = {payment["reference"] for payment in payments}
    return books.review_all(paid, wallet__uuid=plan.wallet_uuid)

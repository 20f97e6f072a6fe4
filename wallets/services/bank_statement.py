"""Compares the books with the bank's own list of payments.

Only reports and raises alarms: money moves by attempts and by operators. After restoring a
backup this shows what the lost hours have paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.alarm import raise_alarm
from wallets.services.reconciliation import CHUNK, Finding
from wallets.utils.bank_statement import StatementLine
from wallets.utils.db import lock_rows, run_in_transaction


def compare(lines: Sequence[StatementLine]) -> Iterator[Finding]:
    """Yield each difference between the bank's payments and our attempts.

    Opens its own transactions where it raises an alarm. Payments younger than the books'
    newest answers show as not recorded; run it again.
    """
    seen: dict[UUID, int] = {}
    for start in range(0, len(lines), CHUNK):
        yield from _compare_chunk(lines[start : start + CHUNK], seen)
    accepted = Attempt.objects.filter(outcome=Attempt.Outcome.ACCEPTED).order_by("pk")
    for attempt in accepted.iterator(chunk_size=CHUNK):
        if attempt.reference not in seen:
            detail = f"reference {attempt.reference}: we have it as paid"
            yield Finding("not_on_statement", f"attempt {attempt}", detail)


def _compare_chunk(
    lines: Sequence[StatementLine], seen: dict[UUID, int]
) -> Iterator[Finding]:
    references = [line.reference for line in lines if line.reference is not None]
    rows = Attempt.objects.filter(reference__in=references).select_related(
        "transaction__wallet"
    )
    attempts = {attempt.reference: attempt for attempt in rows}
    for line in lines:
        if line.reference is None or line.reference not in attempts:
            detail = f"{line.amount} to {line.wallet_uuid}: none of our attempts"
            yield Finding("unknown_payment", f"reference {line.reference}", detail)
            continue
        seen[line.reference] = seen.get(line.reference, 0) + 1
        yield from _compare_line(line, attempts[line.reference], seen[line.reference])


def _compare_line(
    line: StatementLine, attempt: Attempt, times: int
) -> Iterator[Finding]:
    row = f"attempt {attempt}"
    withdrawal = attempt.transaction
    if (line.amount, line.wallet_uuid) != (withdrawal.amount, withdrawal.wallet.uuid):
        detail = f"the bank paid {line.amount} to {line.wallet_uuid}"
        yield Finding("paid_otherwise", row, detail)
    if times > 1:
        _alarm(Alarm.Kind.PAID_TWICE, attempt, f"{times} times on the statement")
        yield Finding("paid_twice", row, f"{times} times on the statement")
    elif attempt.open:
        yield Finding("paid_not_recorded", row, "the resolver has yet to find it out")
    elif attempt.outcome != Attempt.Outcome.ACCEPTED:
        _alarm(Alarm.Kind.PAID_AFTER_RELEASE, attempt, "on the bank's statement")
        yield Finding("paid_after_release", row, f"we have it as {attempt.outcome}")


def _alarm(kind: Alarm.Kind, attempt: Attempt, detail: str) -> None:
    def work() -> None:
        rows = Transaction.objects.filter(pk=attempt.transaction_id)
        (withdrawal,) = lock_rows(rows)
        raise_alarm(kind, withdrawal, attempt_number=attempt.number, detail=detail)

    run_in_transaction(work)

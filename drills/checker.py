"""Decides whether anything went wrong: clients' history, ledger, bank's list.

Pure: it reads nothing. `books` is the ledger in the end, `payments` what the bank
really paid.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drills.history import (
    CANCEL,
    CORRECTION,
    DEPOSIT,
    LIFE,
    OK,
    REFUSED,
    RESCHEDULE,
    TRANSFER,
    UNKNOWN,
    WALLET,
    WITHDRAWAL,
    Intent,
)

# The second half of a transfer, and of a transfer's correction.
TRANSFER_IN, CORRECTION_IN = "TRANSFER_IN", "CORRECTION_IN"
HALVES = {TRANSFER_IN: TRANSFER, CORRECTION_IN: CORRECTION}
COMES_IN = (DEPOSIT, TRANSFER_IN, CORRECTION_IN)
# What `_wrong_effects` does not look for: it is no transaction.
_OTHERS = (CANCEL, RESCHEDULE, WALLET, *LIFE)


@dataclass(frozen=True)
class Row:
    """A transaction of the ledger in the end.

    `partner`: of a second half, the id of the first one. `corrects`: of a correction,
    the id of the transaction in the same wallet that it takes back. `planned_for`: the
    time of a withdrawal in the end; None: that of its request, `scheduled_for`.
    """

    pk: int
    key: str
    kind: str
    wallet: str
    amount: int
    status: str
    final: bool = False
    needs_review: bool = False
    scheduled_for: datetime | None = None
    references: tuple[str, ...] = ()
    partner: int | None = None
    corrects: int | None = None
    planned_for: datetime | None = None


@dataclass(frozen=True)
class Payment:
    """A payment on the bank's list."""

    reference: str
    wallet: str
    amount: int


def wrongs(
    intents: Sequence[Intent],
    books: Sequence[Row],
    balances: dict[str, int],
    payments: Sequence[Payment],
) -> list[str]:
    """Return every error as a sentence; nothing if all is right."""
    return [
        *_wrong_effects(intents, books),
        *_wrong_halves(intents, books),
        *_wrong_corrections(books),
        *_wrong_cancellations(intents, books),
        *_wrong_times(intents, books),
        *_wrong_payments(books, payments),
        *_wrong_balances(books, balances),
    ]


def _wrong_effects(intents: Iterable[Intent], books: Sequence[Row]) -> Iterator[str]:
    """Each confirmed request is in the ledger once; a refused one is not."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in books:
        if row.kind not in HALVES:
            rows[row.key].append(row)
    asked = set()
    for intent in intents:
        if intent.kind in _OTHERS:
            continue
        asked.add(intent.key)
        found = rows[intent.key]
        name = f"{intent.kind} {intent.key} of {intent.amount}"
        if len(found) > 1:
            yield f"{name}: {len(found)} effects of one key"
        if OK in intent.verdicts and not found:
            yield f"{name}: answered ok, and not in the books"
        if intent.verdicts == {REFUSED} and found:
            yield f"{name}: refused, and in the books as {found[0].pk}"
        for row in found:
            wanted = (intent.kind, intent.wallet, intent.amount, intent.scheduled_for)
            done = (row.kind, row.wallet, row.amount, row.scheduled_for)
            if (*done, row.corrects) != (*wanted, intent.corrects):
                yield f"{name}: in the books otherwise: {row}"
        yield from _wrong_replays(name, intent, found)
    for row in books:
        if row.kind not in HALVES and row.key not in asked:
            yield f"transaction {row.pk}: nobody asked for it"


def _wrong_replays(name: str, intent: Intent, found: list[Row]) -> Iterator[str]:
    """All confirmed answers to a key are equal, and match the row."""
    bodies = {
        json.dumps(answer.body, sort_keys=True)
        for answer in intent.answers
        if answer.verdict == OK
    }
    if len(bodies) > 1:
        yield f"{name}: answered differently: {sorted(bodies)}"
    if found and intent.transaction_id not in (None, found[0].pk):
        yield f"{name}: answered with id {intent.transaction_id}, is {found[0].pk}"


def _wrong_halves(intents: Iterable[Intent], books: Sequence[Row]) -> Iterator[str]:
    """A transfer has both halves or none; what one gives, the other gets."""
    payees = {intent.key: intent.to for intent in intents if intent.kind == TRANSFER}
    by_pk = {row.pk: row for row in books}
    seconds: dict[int | None, list[Row]] = defaultdict(list)
    for row in books:
        if row.kind in HALVES:
            seconds[row.partner].append(row)
            first = None if row.partner is None else by_pk.get(row.partner)
            if first is None or first.kind != HALVES[row.kind]:
                yield f"{row.kind} {row.pk}: the half of nothing"
            elif first.amount != row.amount:
                yield f"{row.kind} {row.pk}: gets {row.amount} of {first.amount}"
    for row in books:
        found = seconds[row.pk]
        if row.kind == TRANSFER:
            if [each.wallet for each in found] != [payees.get(row.key)]:
                yield f"transfer {row.key}: its other halves are {found}"
        elif row.kind == CORRECTION:
            corrected = by_pk.get(row.corrects or 0)
            payer = by_pk.get(corrected.partner or 0) if corrected else None
            wanted = [payer.wallet] if payer else []
            if [each.wallet for each in found] != wanted:
                yield f"correction {row.key}: its other halves are {found}"


def _wrong_corrections(books: Sequence[Row]) -> Iterator[str]:
    """What is corrected is of the same wallet, and at most what was moved."""
    by_pk = {row.pk: row for row in books}
    taken: Counter[int] = Counter()
    for row in books:
        if row.corrects is None:
            continue
        taken[row.corrects] += row.amount
        target = by_pk.get(row.corrects)
        if target is None or target.wallet != row.wallet:
            yield f"correction {row.pk}: corrects {target}"
    for pk, amount in taken.items():
        if pk in by_pk and amount > by_pk[pk].amount:
            yield f"transaction {pk}: {amount} of {by_pk[pk].amount} are corrected"


def _wrong_cancellations(
    intents: Iterable[Intent], books: Sequence[Row]
) -> Iterator[str]:
    """A confirmed cancellation holds; if all were refused, there is none.

    A cancellation that is refused while an attempt is open may be confirmed after it
    failed.
    """
    status = {row.key: row.status for row in books}
    verdicts: dict[str, set[str]] = {}
    for intent in intents:
        if intent.kind == CANCEL:
            verdicts.setdefault(intent.key, set()).update(intent.verdicts)
    for key, said in verdicts.items():
        found = status.get(key)
        if OK in said and found != "CANCELLED":
            yield f"withdrawal {key}: cancelled for the client, is {found}"
        if said == {REFUSED} and found == "CANCELLED":
            yield f"withdrawal {key}: not cancelled for the client, but is"
    for row in books:
        if row.status == "CANCELLED" and row.key not in verdicts:
            yield f"withdrawal {row.pk}: CANCELLED, which nobody asked for"


def _wrong_times(intents: Iterable[Intent], books: Sequence[Row]) -> Iterator[str]:
    """A withdrawal has the last time that was confirmed, or one whose answer was lost."""
    asked: dict[str, list[Intent]] = defaultdict(list)
    for intent in intents:
        if intent.kind == RESCHEDULE:
            asked[intent.key].append(intent)
    for row in books:
        told, lost = row.scheduled_for, set()
        for intent in asked[row.key]:
            if OK in intent.verdicts:
                told = intent.scheduled_for
            elif UNKNOWN in intent.verdicts:
                lost.add(intent.scheduled_for)
        planned = row.planned_for or row.scheduled_for
        if planned not in {told, *lost}:
            yield f"withdrawal {row.key}: planned for {planned}, should be {told}"


def _wrong_payments(books: Sequence[Row], payments: Sequence[Payment]) -> Iterator[str]:
    """Paid at most once; COMPLETED means paid, FAILED and CANCELLED mean not paid."""
    by_reference = {reference: row for row in books for reference in row.references}
    paid: Counter[int] = Counter()
    for payment in payments:
        row = by_reference.get(payment.reference)
        if row is None:
            yield f"the bank paid {payment}, of which the books know nothing"
            continue
        paid[row.pk] += 1
        if (payment.wallet, payment.amount) != (row.wallet, row.amount):
            yield f"withdrawal {row.pk}: the bank paid otherwise: {payment}"
    for row in books:
        if row.kind != WITHDRAWAL:
            continue
        count, name = paid[row.pk], f"withdrawal {row.pk} ({row.status})"
        if count > 1:
            yield f"{name}: paid {count} times"
        if row.needs_review:
            continue  # held until a person says whether it was paid
        if row.status == "COMPLETED" and not count:
            yield f"{name}: not paid"
        if row.status in ("FAILED", "CANCELLED") and count:
            yield f"{name}: paid"
        open_ended = row.status == "FAILED" and not row.final
        if row.status in ("PENDING", "PROCESSING") or open_ended:
            yield f"{name}: not settled"


def _wrong_balances(books: Sequence[Row], balances: dict[str, int]) -> Iterator[str]:
    """Each balance is what came in, less what went out or is held for a review."""
    expected: Counter[str] = Counter()
    for row in books:
        if row.kind in COMES_IN:
            expected[row.wallet] += row.amount
        elif row.status == "COMPLETED" or row.needs_review:
            expected[row.wallet] -= row.amount
    for wallet, balance in balances.items():
        if balance != expected[wallet]:
            yield f"wallet {wallet}: holds {balance}, should hold {expected[wallet]}"


def payment_of(line: dict[str, Any]) -> Payment:
    """Return a line of the bank's list as a payment."""
    return Payment(str(line["reference"]), line["wallet_uuid"], line["amount"])

"""Compares the ledger with the bank's list of payments.

It only reports differences and raises alarms; it moves no money. After a restored
backup it shows which payments the ledger does not have.

Note [What a list covers]: a payment of the ledger that is not on the list is missing
only if the list covers its time, and the list does not say which time it covers. If a
period was asked for, the list covers its beginning. Otherwise the covered time begins
with the first payment of ours on the list, by our time; without one, with the first
line that has a time. An empty list covers nothing. The covered time ends when the list
was asked for. At both ends the bank may book a payment later than it was sent, by the
longest call and the booking time.

Note [Paid twice]: a reference that is twice on one list was paid twice. A line that is
alone was also a second payment if its time is more than LATE after the bank's word that
it paid: the list that covered that word has shown the first one, or else the alarm that
it was missing was raised. LATE tolerates a bank's clock, and local times written as UTC.
The daily lists overlap by more than LATE, so nothing lies between the two rules. They do
not see a second payment whose line has no time, nor one soon after an operator has
concluded an attempt that was paid days before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.services.ledger.finding import Finding
from wallets.services.ledger.ledger_audit import CHUNK
from wallets.services.operations import alarm, reconciliation_rows
from wallets.services.operations.reconciliation_alarms import StatementAlarms
from wallets.services.withdrawals import recorded
from wallets.utils import instants
from wallets.utils.bank.interface import ListingBank
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.database.transactions import database_now

# The period is extended by this at both ends, because the bank's clock may differ.
CLOCKS_DIFFER = timedelta(hours=1)
# See Note [Paid twice].
LATE = timedelta(days=1)


@dataclass
class Comparison:
    """The bank's lines compared with our attempts. The lines are held in memory.

    `asked_at`: a moment before the request, by the database's clock. `covered`: the
    time in which the list must have the payments of the ledger; `locked`: withdrawals
    whose alarms could not be raised. Both are set by `findings`.
    """

    lines: Sequence[StatementLine]
    asked_at: datetime
    since: datetime | None = None
    until: datetime | None = None
    covered: tuple[datetime, datetime] | None = None
    locked: list[Finding] = field(default_factory=list)
    _seen: dict[UUID, int] = field(default_factory=dict)
    _first_sent: datetime | None = None
    _first_paid: datetime | None = None

    def findings(self) -> Iterator[Finding]:
        """Yield each difference, and raise its alarm.

        Opens its own transactions. A payment whose answer is not recorded yet is
        reported as such; run the comparison again later.
        """
        alarms = StatementAlarms(self.asked_at)
        for start in range(0, len(self.lines), CHUNK):
            yield from self._compare(self.lines[start : start + CHUNK], alarms)
        self.covered = self._find_covered()
        if self.covered is not None:
            yield from self._missing(*self.covered, alarms)
        alarms.finish_locked()
        self.locked = [*alarms.locked.values()]
        yield from self.locked
        yield from alarms.damaged.values()
        alarms.end()

    def _compare(
        self, lines: Sequence[StatementLine], alarms: StatementAlarms
    ) -> Iterator[Finding]:
        ours = [line.reference for line in lines if isinstance(line.reference, UUID)]
        rows = Attempt.objects.filter(reference__in=ours)
        known: dict[Any, int] = dict(rows.values_list("reference", "pk"))
        # Not by a join, which leaves out attempts without their withdrawal.
        whole = Attempt.objects.prefetch_related("transaction__wallet")
        found = reconciliation_rows.read(whole, known.values(), alarms)
        attempts: dict[Any, Attempt] = {each.reference: each for each in found}
        unknown = []
        for line in lines:
            attempt = attempts.get(line.reference)
            self._note_times(line, attempt)
            if attempt is not None:
                yield from self._compare_line(line, attempt, alarms)
            elif line.reference not in known and self._is_asked_for(line):
                unknown.append(line)
        yield from self._compare_unknown(unknown, alarms)

    def _compare_line(
        self, line: StatementLine, attempt: Attempt, alarms: StatementAlarms
    ) -> Iterator[Finding]:
        fact = f"reference {line.reference} is on the bank's list"
        with alarms.damage_of(f"attempt {attempt.pk}", attempt.transaction_id, fact):
            paid = _recorded_for(attempt) or attempt
            times = self._seen.get(paid.reference, 0) + 1
            self._seen[paid.reference] = times
            yield from _compare_line(line, paid, times, alarms)

    def _compare_unknown(
        self, lines: Sequence[StatementLine], alarms: StatementAlarms
    ) -> Iterator[Finding]:
        """Yield the lines of no attempt, with the withdrawal that leads to them."""
        forgotten = reconciliation_rows.find_forgotten(lines, alarms)
        strange = [line for line in lines if line.reference not in forgotten]
        alarms.of_lines((line, _none_of_ours(line)) for line in strange)
        for line in lines:
            if line.reference not in forgotten:
                row = f"reference {line.reference}"
                yield Finding("unknown_payment", row, _none_of_ours(line))
                continue
            withdrawal, number = forgotten[line.reference]
            row = f"withdrawal {withdrawal.pk}"
            fact = f"reference {line.reference} is on the bank's list"
            with alarms.damage_of(row, withdrawal.pk, fact):
                if withdrawal.status == Transaction.Status.COMPLETED:
                    # An operator has concluded or recorded another, with this payment.
                    accepted = Attempt.Outcome.ACCEPTED
                    attempt = withdrawal.attempts.filter(outcome=accepted)[:1].get()
                    yield from self._compare_line(line, attempt, alarms)
                else:
                    yield from _compare_forgotten(line, withdrawal, number, alarms)

    def _note_times(self, line: StatementLine, attempt: Attempt | None) -> None:
        if attempt is not None:
            first = self._first_sent or attempt.last_sent_at
            self._first_sent = min(first, attempt.last_sent_at)
        if line.paid_at is not None:
            self._first_paid = min(self._first_paid or line.paid_at, line.paid_at)

    def _is_asked_for(self, line: StatementLine) -> bool:
        """Whether the line is in the period; a bank may send more lines."""
        if line.paid_at is None:
            return True
        early = self.since is not None and line.paid_at < self.since
        late = self.until is not None and line.paid_at > self.until
        return not early and not late

    def _find_covered(self) -> tuple[datetime, datetime] | None:
        """Return the covered time. See Note [What a list covers]."""
        seconds = settings.THIRD_PARTY_DEADLINE + settings.THIRD_PARTY_BOOKING_TIME
        late = timedelta(seconds=seconds)
        end = min(self.until or self.asked_at, self.asked_at) - late
        if self.since is not None:
            return self.since, end
        first = self._first_sent or self._first_paid
        return None if first is None else (first + late, end)

    def _missing(
        self, start: datetime, end: datetime, alarms: StatementAlarms
    ) -> Iterator[Finding]:
        """Yield the payments of the ledger in this time that are not on the list."""
        for attempt in reconciliation_rows.paid_between(start, end, alarms):
            if attempt.reference in self._seen:
                continue
            detail = f"reference {attempt.reference}: we have it as paid"
            row, fact = f"attempt {attempt.pk}", f"{detail}, and it is not on the list"
            with alarms.damage_of(row, attempt.transaction_id, fact):
                alarms.of_attempt(Alarm.Kind.NOT_ON_STATEMENT, attempt, detail)
                yield Finding("not_on_statement", f"attempt {attempt}", detail)


def ask(
    bank: ListingBank,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Comparison:
    """Ask the bank for its list of a period, both ends included, or for the whole list.

    Call outside a transaction.

    :raises StatementUnavailable: the list could not be fetched.
    :raises InsideTransaction: called inside a database transaction.
    """
    asked_at = database_now()
    lines = bank.statement(
        since=since and _moved(since, -CLOCKS_DIFFER),
        until=until and _moved(until, CLOCKS_DIFFER),
    )
    return Comparison(lines, asked_at, since, until)


def _none_of_ours(line: StatementLine) -> str:
    return f"{line.amount} to {line.wallet_uuid}: none of our attempts"


def _recorded_for(attempt: Attempt) -> Attempt | None:
    """Return the attempt that an operator has recorded for one that ended as not paid."""
    if attempt.open or attempt.outcome == Attempt.Outcome.ACCEPTED:
        return None
    return recorded.find(attempt.transaction, attempt.reference)


def _compare_line(
    line: StatementLine, attempt: Attempt, times: int, alarms: StatementAlarms
) -> Iterator[Finding]:
    row = f"attempt {attempt}"
    withdrawal = attempt.transaction
    if (line.amount, line.wallet_uuid) != (withdrawal.amount, withdrawal.wallet.uuid):
        detail = f"the bank paid {line.amount} to {line.wallet_uuid}"
        alarms.of_attempt(Alarm.Kind.PAID_OTHERWISE, attempt, detail)
        yield Finding("paid_otherwise", row, detail)
    again = f"{times} times on the statement" if times > 1 else _again(line, attempt)
    if again:
        detail = again
        alarms.of_attempt(Alarm.Kind.PAID_TWICE, attempt, detail)
        yield Finding("paid_twice", row, detail)
    elif attempt.open:
        by_whom = "a person" if withdrawal.needs_review else "the resolver"
        alarms.of_listed(attempt, f"reference {line.reference} is on the bank's list")
        yield Finding("paid_not_recorded", row, f"{by_whom} has yet to record it")
    elif attempt.outcome != Attempt.Outcome.ACCEPTED:
        detail = "on the bank's statement"
        alarms.of_attempt(Alarm.Kind.PAID_AFTER_RELEASE, attempt, detail)
        yield Finding("paid_after_release", row, f"we have it as {attempt.outcome}")


def _again(line: StatementLine, attempt: Attempt) -> str:
    """Return in words that the line is a second payment, or "".

    See Note [Paid twice]. The line of a later attempt, which an operator has settled
    under this attempt's number, says nothing about when this one was paid, unless
    nothing was sent for this one.
    """
    known = attempt.outcome == Attempt.Outcome.ACCEPTED and attempt.closed_at
    other = line.reference != attempt.reference and attempt.sends
    if not known or line.paid_at is None or other:
        return ""
    if line.paid_at <= _moved(known, LATE):
        return ""
    if alarm.exists(Alarm.Kind.NOT_ON_STATEMENT, attempt):
        return ""  # no list has had it yet: booked late
    paid, said = instants.write(line.paid_at), instants.write(known)
    return f"paid at {paid}, and the bank said at {said} that it had paid"


def _compare_forgotten(
    line: StatementLine, withdrawal: Transaction, number: int, alarms: StatementAlarms
) -> Iterator[Finding]:
    detail = (
        f"it is {withdrawal.status}, and the bank has paid {line.amount} to"
        f" {line.wallet_uuid} as its attempt {number}, reference {line.reference}"
    )
    alarms.of_withdrawal(Alarm.Kind.UNKNOWN_PAYMENT, withdrawal, number, detail)
    yield Finding("paid_but_pending", f"withdrawal {withdrawal.pk}", detail)


def _moved(moment: datetime, by: timedelta) -> datetime:
    """Return the moment plus `by`, or the moment at the limits of the calendar."""
    try:
        return moment + by
    except OverflowError:
        return moment

"""The alarms of one comparison with the bank's list: each once, and bounded.

Note [The cap]: a list with payments of other systems, or an empty one, must not fill the
table. So a comparison raises at most MAX_ALARMS new alarms about lines that belong to
nothing, payments that are not on the list, and damaged rows. These hold no payment. The
alarms which say that a withdrawal is paid are all raised, because they hold its payment
(`alarm.said_paid`, `alarm.is_listed`). They are a few for each attempt of ours.

Note [Locked rows]: another session may hold a withdrawal's row, for long. Its alarm waits
for the others: it is tried again at the end, and only then waits for the lock, for all
rows together WAIT_SECONDS and one time-out at most. What is still locked is a finding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.ledger.finding import Finding
from wallets.services.operations.alarm import raise_alarm
from wallets.services.payouts import damage
from wallets.utils import clock, instants
from wallets.utils.bank.payment_list import StatementLine
from wallets.utils.damaged import DAMAGED
from wallets.utils.database.transactions import (
    lock_rows,
    run_in_transaction,
    run_unless_locked,
)

# See Note [The cap].
MAX_ALARMS = 1000
# See Note [Locked rows].
WAIT_SECONDS = 60.0
_MAX_SUBJECT = 100


class _Locked(Exception):
    """Another session holds the row of the withdrawal."""


class StatementAlarms:
    """Raises alarms, each in its own transaction; `asked_at` names the statement."""

    def __init__(self, asked_at: datetime) -> None:
        self._asked_at = asked_at
        self._subject = f"statement of {asked_at:%Y-%m-%d}"
        self._raised = 0
        self._left: dict[Alarm.Kind, int] = {}
        # What could not be compared, by its name.
        self.damaged: dict[str, Finding] = {}
        # Withdrawals whose alarms could not be raised, by name.
        self.locked: dict[str, Finding] = {}
        self._put_off: list[tuple[int, Callable[[], None]]] = []
        self._waits = False

    def of_attempt(self, kind: Alarm.Kind, attempt: Attempt, detail: str) -> None:
        """Raise an alarm about an attempt."""
        self.of_withdrawal(kind, attempt.transaction, attempt.number, detail)

    def of_withdrawal(
        self, kind: Alarm.Kind, row: Transaction, number: int, detail: str
    ) -> None:
        """Raise an alarm about an attempt of this withdrawal, made or not."""

        def work() -> None:
            raise_alarm(kind, self._lock(row.pk), attempt_number=number, detail=detail)

        self._write(kind, row.pk, number, work)

    def of_listed(self, attempt: Attempt, detail: str) -> None:
        """Raise an alarm about an open attempt that the bank has paid.

        While it is open, nobody can give the money back; see `alarm.is_listed`. There
        is none while a sender may be at work, who records the payment, nor if the end
        of the attempt has been recorded since it was read: nothing would close it.
        """
        kind = Alarm.Kind.UNKNOWN_PAYMENT
        number = attempt.number

        def work() -> None:
            row = self._lock(attempt.transaction_id)
            now = Attempt.objects.get(pk=attempt.pk)
            at_work = now.lease_expires_at > self._asked_at
            if now.open and not (row.state is State.SENDING and at_work):
                raise_alarm(kind, row, attempt_number=number, detail=detail)

        self._write(kind, attempt.transaction_id, number, work)

    def of_lines(self, lines: Iterable[tuple[StatementLine, str]]) -> None:
        """Raise the alarms about payments, with details, that belong to no attempt."""
        kind = Alarm.Kind.UNKNOWN_PAYMENT
        details = {_subject(line): detail for line, detail in lines}
        for subject in _without_alarm(kind, [*details]):
            if self._has_room(kind):
                run_in_transaction(
                    partial(raise_alarm, kind, subject=subject, detail=details[subject])
                )

    def of_damage(
        self,
        row: str,
        error: Exception,
        *,
        withdrawal_id: int | None = None,
        note: str = "",
    ) -> None:
        """Raise the alarm about a damaged row, and note that it is not compared."""
        if row in self.damaged:
            return
        detail = f"{note or 'it cannot be read'}; not compared: {type(error).__name__}"
        self.damaged[row] = Finding("damaged_rows", row, detail)
        kind = Alarm.Kind.DAMAGED_ROWS
        if _without_alarm(kind, [row]) and self._has_room(kind):
            damage.report(row, error, withdrawal_id=withdrawal_id, note=note)

    @contextmanager
    def damage_of(self, row: str, withdrawal_id: int, fact: str) -> Iterator[None]:
        """Put the row aside if it, or one that belongs to it, is damaged."""
        try:
            yield
        except DAMAGED as error:
            self.of_damage(row, error, withdrawal_id=withdrawal_id, note=fact)

    def of_statement(self, kind: Alarm.Kind, detail: str) -> None:
        """Raise an alarm about the list itself: once for each day and kind."""
        run_in_transaction(
            lambda: raise_alarm(kind, subject=self._subject, detail=detail)
        )

    def of_skipped(self, since: datetime, until: datetime) -> None:
        """Raise the alarm that the daily runs have not compared this time."""
        first, last = instants.write(since), instants.write(until)
        detail = (
            "no daily run has compared this time; compare it in periods of a week or "
            f"less: manage.py reconcile_bank --from {first} --to {last}"
        )
        subject = f"statement since {since:%Y-%m-%dT%H:%M:%SZ}"
        kind = Alarm.Kind.NO_STATEMENT
        run_in_transaction(lambda: raise_alarm(kind, subject=subject, detail=detail))

    def end(self) -> None:
        """Raise an alarm with the number of alarms that were left out."""
        for kind, count in self._left.items():
            detail = (
                f"{count} more have no alarm. manage.py reconcile_bank names all of "
                f"them; each run raises at most {MAX_ALARMS} new alarms of this sort"
            )
            self.of_statement(kind, detail)

    def _write(
        self,
        kind: Alarm.Kind,
        withdrawal_id: int,
        number: int,
        work: Callable[[], None],
    ) -> None:
        """Do `work`, which raises this alarm. See Note [The cap]."""
        if kind is Alarm.Kind.NOT_ON_STATEMENT:
            subjects = [f"withdrawal {withdrawal_id}"]
            has_room = _without_alarm(kind, subjects, number) and self._has_room(kind)
        else:
            has_room = True  # if it exists, this may be new evidence
        if has_room and not _is_done(work):
            self._put_off.append((withdrawal_id, work))

    def _lock(self, pk: int) -> Transaction:
        """Lock the withdrawal, and wait for that only at the end."""
        rows = Transaction.objects.filter(pk=pk)
        locked = lock_rows(rows, skip_locked=not self._waits)
        if not locked and rows.exists():
            raise _Locked
        row: Transaction
        (row,) = locked
        return row

    def finish_locked(self) -> None:
        """Raise the alarms that locks have kept back. See Note [Locked rows]."""
        put_off, self._put_off = self._put_off, []
        ends = clock.elapsed() + WAIT_SECONDS
        for pk, work in put_off:
            self._waits = clock.elapsed() < ends
            row = f"withdrawal {pk}"
            with self.damage_of(row, pk, "it was locked"):
                if not _is_done(work):
                    detail = "another session holds its row, so an alarm is not raised"
                    self.locked[row] = Finding("locked_rows", row, detail)

    def _has_room(self, kind: Alarm.Kind) -> bool:
        if self._raised < MAX_ALARMS:
            self._raised += 1
            return True
        self._left[kind] = self._left.get(kind, 0) + 1
        return False


def _is_done(work: Callable[[], None]) -> bool:
    """Do `work` in a transaction, unless a row that it needs is locked."""

    def tell() -> bool:
        work()
        return True

    try:
        return bool(run_unless_locked(tell))
    except _Locked:
        return False


def _without_alarm(kind: Alarm.Kind, subjects: list[str], number: int = 0) -> list[str]:
    """Return the subjects that have no alarm of this kind, open or not. One query."""
    rows = Alarm.objects.filter(kind=kind, subject__in=subjects, attempt_number=number)
    known = set(rows.values_list("subject", flat=True))
    return [subject for subject in subjects if subject not in known]


def _subject(line: StatementLine) -> str:
    """Return the payment's reference, or else all that is known about it."""
    if line.reference is not None:
        text = f"reference {line.reference}"
    else:
        moment = "" if line.paid_at is None else f" at {line.paid_at.isoformat()}"
        text = f"payment of {line.amount} to {line.wallet_uuid}{moment}"
    if len(text) <= _MAX_SUBJECT:
        return text
    # Two long texts with the same beginning must differ.
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: _MAX_SUBJECT - 18]}… {mark}"

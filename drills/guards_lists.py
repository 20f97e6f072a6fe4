"""Guards of what the bank's list proves, and of rows that cannot be read.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_COMPARISON = "wallets/services/operations/reconciliation.py"
_DAILY = "wallets/services/operations/reconciliation_daily.py"
_RECORDED = "wallets/services/withdrawals/recorded.py"
_PAID_ATTEMPT = "wallets/services/operations/paid_attempt.py"
_ROWS = "wallets/services/operations/reconciliation_rows.py"
_READABLE = "wallets/utils/database/readable.py"
_ALARMS = "wallets/services/operations/reconciliation_alarms.py"

LIST_GUARDS = (
    Guard(
        "what the bank's list has is not released by a look-up",
        "wallets/services/payouts/look_up.py",
        '    return LISTED if event in _RELEASES and is_listed(attempt) else ""\n',
        '    return ""\n',
        "test_listed.py",
    ),
    Guard(
        "an open attempt on the bank's list has an alarm",
        _COMPARISON,
        '        alarms.of_listed(attempt, f"reference {line.reference} is on the bank\'s list")\n',
        "",
        "test_listed.py",
    ),
    Guard(
        "an alarm about an open attempt is raised only while it is open",
        _ALARMS,
        "            if now.open and not (row.state is State.SENDING and at_work):\n",
        "            if True:\n",
        "test_listed.py",
    ),
    Guard(
        "what is recorded as paid ends the alarm of the bank's list",
        "wallets/services/payouts/outcome.py",
        "    alarm.end_listed(listed, actor=actor, now=now)\n",
        "",
        "test_listed.py",
    ),
    Guard(
        "a payment that is alone on a later list may be a second one",
        _COMPARISON,
        "    if line.paid_at <= _moved(known, LATE):\n",
        "    if True:\n",
        "test_listed.py::ListedAgainTest",
    ),
    Guard(
        "a payment that was booked late is not a second one",
        _COMPARISON,
        "    if alarm.exists(Alarm.Kind.NOT_ON_STATEMENT, attempt):\n",
        "    if False:\n",
        "test_listed.py::ListedAgainTest",
    ),
    Guard(
        "a line of a released attempt is the payment that was recorded for it",
        _COMPARISON,
        "            paid = _recorded_for(attempt) or attempt\n",
        "            paid = attempt\n",
        "test_recorded.py::RecordedTest",
    ),
    Guard(
        "a line of another attempt than the recorded one is another payment",
        _RECORDED,
        "sends=0, answer__in=answers)\n",
        "sends=0)\n",
        "test_recorded.py::OtherPaymentTest",
    ),
    Guard(
        "what was sent stands for no other attempt",
        _RECORDED,
        "    made = withdrawal.attempts.filter(outcome=_ACCEPTED, sends=0, ",
        "    made = withdrawal.attempts.filter(outcome=_ACCEPTED, ",
        "test_recorded.py::OtherPaymentTest",
    ),
    Guard(
        "a recorded payment is paid again days later under the bank's reference",
        _COMPARISON,
        "    other = line.reference != attempt.reference and attempt.sends\n",
        "    other = line.reference != attempt.reference\n",
        "test_recorded.py::RecordedTest",
    ),
    Guard(
        "an alarm says which attempt is recorded",
        _PAID_ATTEMPT,
        "    reference = named or _said(withdrawal, possible)\n",
        "    reference = named\n",
        "test_recorded.py::WhichAttemptTest",
    ),
    Guard(
        "a payment that was recorded without its reference is not entered again",
        "wallets/services/withdrawals/reference.py",
        "        | Q(event=Event.RECORD_PAID.value) & Q(recorded.without_reference()),\n",
        "        ,\n",
        "test_recorded.py::WhichAttemptTest",
    ),
    Guard(
        "a late answer about a recorded payment opens no alarm",
        "wallets/services/payouts/outcome.py",
        "        if recorded.find(withdrawal, attempt.reference):\n",
        "        if False:\n",
        "test_recorded.py::RecordedTest",
    ),
    Guard(
        "a daily run that fails raises an alarm",
        _DAILY,
        "        _tell(error, now)\n",
        "",
        "test_daily_run.py::FailedRunTest",
    ),
    Guard(
        "a daily run that fails goes on as an error",
        _DAILY,
        "        _tell(error, now)\n        raise\n",
        "        _tell(error, now)\n        return 0\n",
        "test_daily_run.py::FailedRunTest",
    ),
    Guard(
        "what stays locked is no successful run",
        _DAILY,
        "    if comparison.locked:\n",
        "    if False:\n",
        "test_daily_run.py::LockedTest",
        POSTGRESQL,
    ),
    Guard(
        "a comparison that is not made any more shows",
        "wallets/services/operations/readiness.py",
        "    if settings.THIRD_PARTY_STATEMENT:\n",
        "    if False:\n",
        "test_daily_run.py::LastRunTest",
    ),
    Guard(
        "a locked withdrawal does not end the comparison of others",
        _ALARMS,
        "    except _Locked:\n",
        "    except ZeroDivisionError:\n",
        "test_daily_run.py::LockedTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked withdrawal keeps no other waiting",
        _ALARMS,
        "        locked = lock_rows(rows, skip_locked=not self._waits)\n",
        "        locked = lock_rows(rows)\n",
        "test_daily_run.py::LockedTest",
        POSTGRESQL,
    ),
    Guard(
        "a locked withdrawal is tried again at the end",
        _ALARMS,
        "            self._put_off.append((withdrawal_id, work))\n",
        "            pass\n",
        "test_daily_run.py::LockedTest",
        POSTGRESQL,
    ),
    Guard(
        "the payments of a period are read by ids",
        _ROWS,
        "        if not chunk.filter(created_at__gte=start).exists():\n",
        "        if False:\n",
        "test_daily_run.py::PeriodPlansTest",
        POSTGRESQL,
    ),
    Guard(
        "a chunk of other attempts does not end a period",
        _ROWS,
        "        if not chunk.filter(created_at__gte=start).exists():\n",
        "        if not paid.exists():\n",
        "test_daily_run.py::PeriodTest",
    ),
    Guard(
        "a time that no daily run has compared is named",
        _DAILY,
        "    if wanted < since:\n",
        "    if False:\n",
        "test_bank_statement.py::DailyRunTest",
    ),
    Guard(
        "a number too large for its column is one row's damage",
        "wallets/utils/damaged.py",
        "    *(AttributeError, OverflowError),\n",
        "",
        "test_unreadable.py",
    ),
    Guard(
        "a zero date is one row's damage",
        "wallets/utils/damaged.py",
        "    *(AttributeError, OverflowError),\n",
        "    *(OverflowError,),\n",
        "test_unreadable.py",
        MARIADB,
    ),
    Guard(
        "a list leaves out what it cannot read",
        _READABLE,
        "    except DAMAGED:\n        with reading():\n",
        "    except ZeroDivisionError:\n        with reading():\n",
        "test_unreadable.py::UnreadableReadTest",
    ),
    Guard(
        "a page is filled up where a row cannot be read",
        _READABLE,
        "    while len(found) < size and left_out and len(left_out) < _MOST:\n",
        "    while False:\n",
        "test_unreadable.py::UnreadableReadTest",
    ),
    Guard(
        "the earliest time is found although another cannot be read",
        _READABLE,
        '    return _first_known(query.order_by(column, "pk"), column)\n',
        "    return None\n",
        "test_unreadable.py::UnreadableDueTest",
    ),
    Guard(
        "alarms are told whose withdrawals cannot be read",
        "wallets/services/operations/alarm.py",
        '.only(\n        *own, "transaction__amount", "transaction__wallet__currency"\n    )',
        "",
        "test_unreadable.py::UnreadableReadTest",
    ),
    Guard(
        "the check of the ledger names impossible times",
        "wallets/services/ledger/ledger_audit.py",
        "    verify_lives,\n    verify_times,\n",
        "    verify_lives,\n",
        "test_unreadable.py::UnreadableReadTest",
    ),
    Guard(
        "a withdrawal keeps its references when fewer retries are allowed",
        "wallets/services/withdrawals/reference.py",
        "    known = next_number(withdrawal) if waits else withdrawal.retry_count + 1\n",
        "    known = 1\n",
        "test_record.py::FewerRetriesTest",
    ),
    Guard(
        "a payment under the key of what has ended is recorded by its reference",
        "wallets/services/operations/record.py",
        "    if rule_for(known.known_state, Event.RECORD_PAID) is not None:\n",
        "    if True:\n",
        "test_record.py::RecordPaymentTest",
    ),
    Guard(
        "the feed does not read what no event tells",
        "events/services/content.py",
        ".defer(*_UNTOLD_OF_TRANSACTION))\n",
        ")\n",
        "events/tests/test_damaged.py",
    ),
    Guard(
        "a withdrawal without an open attempt has an alarm",
        "wallets/services/payouts/sweeps.py",
        "    damage.report_homeless()\n",
        "",
        "test_damaged_rows.py::HomelessTest",
    ),
    Guard(
        "an operator's verdict recognises its own rows",
        "wallets/services/operations/review.py",
        "        if said.is_written(transaction_id):\n",
        "        if False:\n",
        "test_db.py::LostConnectionTest",
        POSTGRESQL,
    ),
)

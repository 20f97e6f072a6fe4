"""Guards of what the bank's list proves, and of rows that cannot be read.

See `drills.guard`.
"""

from __future__ import annotations

from drills.guard import Guard

_COMPARISON = "wallets/services/operations/reconciliation.py"
_ALARMS = "wallets/services/operations/reconciliation_alarms.py"

LIST_GUARDS = (
    Guard(
        "what the bank's list has is not released by a look-up",
        "wallets/services/payouts/look_up.py",
        "        if event in _RELEASES and is_listed(attempt):\n",
        "        if False:\n",
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
        "a time that no daily run has compared is named",
        _COMPARISON,
        "    if wanted < since:\n",
        "    if False:\n",
        "test_bank_statement.py::DailyRunTest",
    ),
)

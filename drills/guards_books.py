"""Guards of the check of the ledger, and of what it protects; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_HISTORY = "wallets/services/ledger/history_audit.py"
_BALANCE = "wallets/services/reads/balance.py"

BOOK_GUARDS = (
    Guard(
        "a row that is missing is named",
        "wallets/services/ledger/parent_audit.py",
        "        ~Exists(parents), ",
        "        Exists(parents.none()), ",
        "test_parent_audit.py",
    ),
    Guard(
        "a withdrawal in another state than its history is named",
        _HISTORY,
        '    wrong = rows.filter(~Exists(last.filter(to_state=OuterRef("stored"))))\n',
        "    wrong = rows.none()\n",
        "test_history_audit.py::HistoryAuditTest",
    ),
    Guard(
        "a gap of a history is named",
        _HISTORY,
        '~Q(sequence=F("place") - 1) | ',
        "",
        "test_history_audit.py::HistoryAuditTest",
    ),
    Guard(
        "a history whose states do not meet is named",
        _HISTORY,
        ' | ~Q(from_state=F("state_before"))',
        "",
        "test_history_audit.py::HistoryAuditTest",
    ),
    Guard(
        "a transition that its transaction does not know is named",
        _HISTORY,
        '        Q(sequence__gt=F("transaction__version"))\n        | ',
        "        ",
        "test_history_audit.py::HistoryAuditTest",
    ),
    Guard(
        "a withdrawal in another state than its history is not claimed",
        "wallets/services/payouts/claimable.py",
        "        if row.pk not in paid and said != row.state.value:\n",
        "        if False:\n",
        "test_history_audit.py::RevivedTest",
    ),
    Guard(
        "a movement before the one before it is named",
        "wallets/services/ledger/ledger_audit.py",
        "        if is_back:\n",
        "        if False:\n",
        "test_time_audit.py",
    ),
    Guard(
        "a wallet with another time than its last movement is named",
        "wallets/services/ledger/time_audit.py",
        '~Exists(last.filter(created_at=OuterRef("updated_at")))',
        "~Exists(last)",
        "test_time_audit.py",
    ),
    Guard(
        "an entry of no correction is named",
        "wallets/services/ledger/correction_audit.py",
        "        for pk in entries.filter(~Exists(its)).values_list(",
        "        for pk in entries.none().values_list(",
        "test_correction.py::VerifyTest",
    ),
    Guard(
        "a transfer between two currencies is named",
        "wallets/services/ledger/transfer_audit.py",
        "    mixed = Transfer.objects.exclude(",
        "    mixed = Transfer.objects.none().exclude(",
        "test_transfer_audit.py",
    ),
    Guard(
        "the clock is read before a present balance",
        "wallets/views/statement.py",
        "        return balances(calls, now=database_now())\n",
        "        found = balances(calls, now=database_now())\n"
        "        return [\n"
        "            one if isinstance(one, Exception)\n"
        "            else one._replace(at=call.at or database_now())\n"
        "            for call, one in zip(calls, found, strict=True)\n"
        "        ]\n",
        "test_api_statement.py::BalanceApiTest",
    ),
    Guard(
        "a present balance has the time of its last movement if that is later",
        _BALANCE,
        "Balance(max(now, moved), present[n])",
        "Balance(now, present[n])",
        "test_reads.py test_api_statement.py::BalanceApiTest",
    ),
    Guard(
        "a present balance is not newer than the time of its wallet",
        _BALANCE,
        "numbered(one, one.movement_count) or newest(one)",
        "newest(one)",
        "test_reads.py",
    ),
)
